import { AgentState, agentView, AgentSnapshotSchema, CommandSchema, create, decodeStrict } from '@capstan/protocol';
import type { CommandRecord } from '../commands/command-record.js';

/**
 * The view of an agent that never came to be, because its spawn was refused or expired: whoever asks for it is told why.
 * Undefined while that is not known. Revision 0: whatever the instance reports replaces it.
 */
export function refusedAgent({ agentId, instance, envelope, settledAt, refusal }: CommandRecord) {
  if (settledAt === null || refusal === null) return undefined;
  const { body } = decodeStrict(CommandSchema, envelope.payload);
  if (body.case !== 'spawn') return undefined;
  const { taskId, runtime } = body.value;
  const error = { code: refusal.code, sentence: refusal.sentence };
  const completedAtMs = BigInt(settledAt.getTime());
  const snapshot = create(AgentSnapshotSchema, {
    agentId,
    taskId,
    runtime,
    state: AgentState.FAILED,
    completedAtMs,
    error,
  });
  return { ...agentView(snapshot), instance, asOf: settledAt.toISOString(), leaseEndsAt: null };
}
