import { agentView, stripControl, toHex } from '@capstan/protocol';
import type { VerifiedKillAll } from './kill-all-statement.js';
import type { VerifiedObservation } from './observation.js';
import type { VerifiedReceipt } from './verify-receipt.js';

/** A verified receipt in lines for people; safe to print. */
export function describeReceipt(v: VerifiedReceipt): string[] {
  const { receipt } = v;
  return [
    `${v.kind}: signed by ${v.issuer}`,
    `command ${receipt.commandId} of ${receipt.commandIssuer}${v.commandBound ? ', which is in this file' : ''}`,
    `command digest ${toHex(receipt.commandDigest)}`,
    ...resultLines(v),
    ...(receipt.audit === undefined
      ? []
      : [`audit entry ${String(receipt.audit.sequence)}, hash ${toHex(receipt.audit.hash)}`]),
  ].map(oneLine);
}

function resultLines(v: VerifiedReceipt): string[] {
  const { agentId, result } = v.receipt;
  const { observation, observations, killAll } = v;
  switch (result.case) {
    case 'refused':
      return [`refused with ${result.value.code}: ${result.value.sentence}`];
    case 'spawned':
    case 'status':
    case 'finished': {
      const { state, harvest, error } = agentView(result.value);
      return [
        `agent ${agentId} is ${state}`,
        ...(harvest === null
          ? []
          : [`branch ${harvest.branch}, commit ${harvest.commit}, ${String(harvest.files.length)} files`]),
        ...(error === null ? [] : [`${error.code}: ${error.sentence}`]),
      ];
    }
    case 'killed':
      return observation === undefined ? [`agent ${agentId}: death unconfirmed`] : observationLines(observation);
    case 'killedAll': {
      const unseen = result.value.agents.length - observations.length;
      const unconfirmed = unseen === 0 ? [] : [`${String(unseen)} agents: death unconfirmed`];
      const epoch = `kill epoch ${String(result.value.epoch)}`;
      return [epoch, ...coverage(killAll), ...observations.flatMap(observationLines), ...unconfirmed];
    }
    case 'logs':
      return [`agent ${agentId}: ${String(result.value.lines.length)} log lines`];
    case 'rearmed':
      return [`spawns are allowed again, kill epoch ${String(result.value.epoch)}`];
    case 'probed':
      return ['the reaper has answered on the way that a kill takes'];
    case 'catalog':
      return [`offers ${result.value.runtimes.join(', ')}, ${String(result.value.concurrency)} agents at once`];
    case 'agents':
      return [`${String(result.value.agents.length)} agents`];
    case undefined:
      return [];
  }
}

function coverage(killAll: VerifiedKillAll | undefined): string[] {
  if (killAll === undefined)
    return ['UNCONFIRMED: only the spoke says that these agents are all; the reaper has not (statement-missing)'];
  const { scope, scopeId, agents, raisedAtMs } = killAll;
  const of = scope === 'tenant' ? `tenant ${scopeId}` : `the ${scope}`;
  const when = new Date(raisedAtMs).toISOString();
  return [`the reaper stopped ${of} at ${when} and names all that lived: ${String(agents.length)} agents`];
}

function observationLines(o: VerifiedObservation): string[] {
  const names = [
    ...o.processes.map(({ pid, startTicks }) => `pid ${String(pid)} (started at tick ${String(startTicks)})`),
    ...(o.pidNamespace === 0 ? [] : [`pid namespace ${String(o.pidNamespace)}`]),
    ...(o.cgroup === '' ? [] : [`cgroup ${o.cgroup}`]),
  ];
  const took = `${String(o.observedAtMs - o.orderedAtMs)} ms after the order`;
  switch (o.outcome) {
    case 'killed':
      return [`agent ${o.agentId}: observed dead ${took}`, `gone: ${names.join(', ')}`];
    case 'already-gone':
      return [
        `agent ${o.agentId}: was gone before any signal`,
        ...(names.length === 0 ? [] : [`gone: ${names.join(', ')}`]),
      ];
    case 'tombstoned':
      return [`agent ${o.agentId}: had not started, and never will`];
    case 'unconfirmed':
      return [`agent ${o.agentId}: death unconfirmed`];
  }
}

function oneLine(text: string): string {
  return stripControl(text).replace(/[\n\t]+/g, ' ');
}
