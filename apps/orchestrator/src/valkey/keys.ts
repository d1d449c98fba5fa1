import type { AgentId, TaskId, TenantId } from '@capstan/protocol';

/** Every key and channel of the orchestrator in Valkey; the queue's own keys begin with `bull:`. */
export const KEYS = {
  /** Hash: the agent's view as JSON fragments, its plan, fence and attempts, and the call that moved it last. */
  agent: (id: AgentId) => `orchestrator:agent:${id}`,
  /** Hash: the task's state and the agent that works on it. */
  task: (id: TaskId) => `orchestrator:task:${id}`,
  /** Sorted set: every agent, by the millisecond in which it was queued. */
  agents: 'orchestrator:agents',
  /** Set: agents that have not ended. */
  live: 'orchestrator:live',
  /** Set: agents that are spawning or running. */
  started: 'orchestrator:started',
  /** Set: agents whose job is not yet known to be in the queue. */
  unqueued: 'orchestrator:unqueued',
  /** Set: agents that may have left something on disk. */
  untidy: 'orchestrator:untidy',
  /** Sorted set: ended agents, by the millisecond of their end. */
  ended: 'orchestrator:ended',
  /** Counter: the last fencing token. */
  fence: 'orchestrator:fence',
  /** Hash: the last MessageNotice of messages that wait, by the message's id and the agent's. */
  unread: 'orchestrator:unread',
  /** Stream: every change, in order. */
  events: 'orchestrator:events',
  /** Hash: sums that model requests hold while they run, by the id of the hold. */
  spendHolds: 'orchestrator:spend:holds',
  /** Hash: what the agents of a task have spent and hold, millionths of a US dollar. */
  spendOfTask: (tenant: TenantId, id: TaskId) => `orchestrator:spend:task:${tenant}:${id}`,
  /** Hash: the same of a tenant on one day. @param day YYYY-MM-DD, UTC */
  spendOfTenant: (tenant: TenantId, day: string) => `orchestrator:spend:tenant:${tenant}:${day}`,
} as const;

/**
 * Pub/sub channels: an AgentView or a TaskView as JSON on each change; {agentId, cleanedAt} once nothing is left of one; a
 * StallNotice; a MessageNotice; a CompactionNotice.
 */
export const CHANNELS = {
  agents: 'orchestrator:agents',
  tasks: 'orchestrator:tasks',
  cleaned: 'orchestrator:cleaned',
  stalls: 'orchestrator:stalls',
  messages: 'orchestrator:messages',
  compactions: 'orchestrator:compactions',
} as const;
