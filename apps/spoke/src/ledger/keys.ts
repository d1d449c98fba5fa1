/** Ids match [a-z0-9-], so these keys are unambiguous; none is ever taken apart again. */
export const KEYS = {
  entry: (issuer: string, id: string): string => `spoke:ledger:${issuer}:${id}`,
  /** Entries by the time from which they may be pruned. */
  expiry: 'spoke:ledger:expiry',
  /** The latest such time of an entry that was pruned: nothing from before it may be taken for new. */
  prunedThrough: 'spoke:ledger:pruned-through',
  /** Entries that the orchestrator has not taken yet, by the time of their acceptance. */
  offers: 'spoke:offers',
  /** Which command an agent stands on. */
  agent: (agentId: string): string => `spoke:agent:${agentId}`,
  /** Ended agents by the time from which they may be forgotten. */
  agentExpiry: 'spoke:agent-expiry',
  /** Position in the orchestrator's events up to which everything is in the outbox. */
  eventCursor: 'spoke:event-cursor',
  outboxOrder: 'spoke:outbox:order',
  outboxItems: 'spoke:outbox:items',
  outboxSequence: 'spoke:outbox:sequence',
} as const;
