import type { HubAgentView } from '@capstan/localmesh';
import { vitalLines } from './vitals.js';

/** One agent for people. */
export function agentLines(agent: HubAgentView): string[] {
  const { harvest, error, usage, vitals, warnings } = agent;
  const cost = `$${(usage.costMicroUsd / 1_000_000).toFixed(4)}`;
  return [
    `agent ${agent.agentId} on ${agent.instance}: ${agent.state}${agent.unsandboxed ? ' (WITHOUT A SANDBOX)' : ''}`,
    ...(error === null ? [] : [`  ${error.sentence} (${error.code})`]),
    ...(warnings ?? []).map(({ sentence }) => `  note: ${sentence}`),
    ...vitalLines(vitals),
    ...(agent.leaseEndsAt === null ? [] : [`  dead by ${agent.leaseEndsAt} unless the hub is heard`]),
    ...(harvest === null
      ? []
      : [
          `  branch ${harvest.branch}, commit ${harvest.commit}${harvest.pushed ? '' : ' (not pushed)'}`,
          `  files ${harvest.files.join(', ')}`,
        ]),
    `  ${String(usage.requests)} model requests, ${String(usage.inputTokens + usage.outputTokens)} tokens, ${cost}`,
  ];
}
