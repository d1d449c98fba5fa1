import type { VerifiedReceipt } from '@capstan/evidence';
import { type KillAnswer, loadContext, type Mesh } from '@capstan/localmesh';
import { checkReceipt } from '../receipts.js';

const WAIT_MS = 10_000;

export interface KillReport {
  requestedAt: string;
  /** Null while nobody has seen it dead. */
  observedDeadAt: string | null;
  /** From the order at this end to the observation, milliseconds. */
  ms: number | null;
  confirmed: boolean;
  outcome: string;
  /** What the reaper saw gone, signed by its own key and checked here. */
  observed: VerifiedReceipt['observation'] | null;
}

/** Kills through the hub and believes only what the reaper signed. */
export async function killAgent(mesh: Mesh, agentId: string): Promise<KillReport> {
  const requestedAtMs = Date.now();
  const answer = await mesh.client.kill(agentId, { reason: 'the demo shows a proven kill', waitMs: WAIT_MS });
  const observed = await observationOf(mesh, answer);
  const confirmed = answer.confirmed && observed !== null;
  return {
    requestedAt: new Date(requestedAtMs).toISOString(),
    observedDeadAt: confirmed ? new Date(observed.observedAtMs).toISOString() : null,
    ms: confirmed ? observed.observedAtMs - requestedAtMs : null,
    confirmed,
    outcome: answer.outcome,
    observed,
  };
}

async function observationOf(
  mesh: Mesh,
  answer: KillAnswer,
): Promise<NonNullable<VerifiedReceipt['observation']> | null> {
  if (answer.receipt === undefined) return null;
  const verified = await checkReceipt(answer.receipt, await loadContext(mesh.contextFile));
  return verified.observation ?? null;
}
