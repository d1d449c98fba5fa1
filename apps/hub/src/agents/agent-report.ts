import { type AgentSnapshot, agentView, isTerminal, WireFault, agentId as parseAgentId } from '@capstan/protocol';
import type { AgentReport } from '../database/record-change.js';
import { safeText } from './safe-text.js';

/** A snapshot of an agent, ready to be written. */
export interface Reported {
  report: AgentReport;
  hasEnded: boolean;
}

/**
 * What an instance says of an agent, as of the moment at which it signed it; a clock that is ahead of ours is not
 * believed further than now.
 *
 * @throws WireFault `id-malformed`, `payload-malformed`
 */
export function reported(snapshot: AgentSnapshot, instance: string, signedAtMs: bigint, nowMs: number): Reported {
  if (snapshot.revision > BigInt(Number.MAX_SAFE_INTEGER)) throw new WireFault('payload-malformed', 'revision');
  const view = safeText(agentView(snapshot));
  const asOfMs = signedAtMs < 0n || signedAtMs > BigInt(nowMs) ? nowMs : Number(signedAtMs);
  const report = {
    agent_id: parseAgentId(snapshot.agentId),
    instance,
    revision: view.revision,
    snapshot: view,
    as_of: new Date(asOfMs).toISOString(),
  };
  return { report, hasEnded: isTerminal(view.state) };
}
