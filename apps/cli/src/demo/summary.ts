import { checkoutRoot, defaultContextFile, type Mesh } from '@capstan/localmesh';
import type { DemoReport } from './demo-report.js';

/**
 * What happened, in short: each line with the command to do it yourself.
 * @param stays whether the mesh is there to take those commands
 */
export function summaryLines(mesh: Mesh, { first, second, kill }: DemoReport, stays: boolean): string[] {
  const { harvest } = first.agent;
  const capstan = capstanCommand(mesh);
  const remote = mesh.repository?.path ?? '';
  const killed = second.receipts.find(({ kind }) => kind === 'killed');
  const finished = first.receipts.find(({ kind }) => kind === 'finished');
  return [
    '',
    `What was done, and how to do it yourself (${stays ? 'in another terminal' : 'while the mesh is up'}, in ${checkoutRoot()})`,
    ...entry(`Enrolled ${mesh.instances.map(({ id }) => id).join(' and ')} with the hub`, `${capstan} spoke ls`),
    ...entry(
      `Agent ${first.agent.agentId} on ${first.agent.instance}: ${first.agent.state}`,
      `${capstan} ${first.order.command} --wait`,
    ),
    ...entry(
      `Its work: commit ${harvest?.commit.slice(0, 12) ?? 'none'} on ${harvest?.branch ?? 'no branch'} (${harvest?.files.join(', ') ?? ''})`,
      `git -C ${remote} show ${harvest?.branch ?? 'HEAD'}`,
    ),
    ...entry('Its state, asked of the instance and signed by it', `${capstan} agents status ${first.agent.agentId}`),
    ...entry('A second agent that would run for an hour', `${capstan} ${second.order.command}`),
    ...entry(killSentence(second.agent.agentId, kill), `${capstan} agents kill ${second.agent.agentId}`, gone(kill)),
    ...(killed === undefined
      ? []
      : entry('The receipt of the kill, checked offline', `${capstan} verify ${killed.file}`)),
    ...(finished === undefined
      ? []
      : entry('The signed result of the first agent, checked offline', `${capstan} verify ${finished.file}`)),
    '',
    `Hub    ${mesh.hub.url}   (API described at ${mesh.hub.url}/docs)`,
    `Token  ${mesh.hub.tokenFile}`,
    `State  ${mesh.stateDir}`,
    '',
  ];
}

/** What to type: the mesh of this checkout needs no naming, another one does. */
function capstanCommand(mesh: Mesh): string {
  return mesh.contextFile === defaultContextFile() ? 'npx capstan' : `npx capstan --context ${mesh.contextFile}`;
}

function killSentence(agentId: string, kill: DemoReport['kill']): string {
  if (!kill.confirmed || kill.ms === null) return `Agent ${agentId}: its death is UNCONFIRMED`;
  return `Agent ${agentId}: ${kill.outcome}, observed dead ${String(kill.ms)} ms after the order`;
}

function gone({ observed }: DemoReport['kill']): string[] {
  if (observed === null || observed === undefined) return [];
  const parts = [
    ...observed.processes.map(({ pid }) => `pid ${String(pid)}`),
    ...(observed.pidNamespace === 0 ? [] : [`PID namespace ${String(observed.pidNamespace)}`]),
    ...(observed.cgroup === '' ? [] : [`control group ${observed.cgroup}`]),
  ];
  return [`observed gone: ${parts.join(', ')}`];
}

function entry(what: string, command: string, details: readonly string[] = []): string[] {
  return [`  • ${what}`, ...[...details, command].map((line) => `      ${line}`)];
}
