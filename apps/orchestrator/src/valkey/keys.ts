import type { AgentId, TaskId } from '@capstan/protocol';

/** Every key and channel of the orchestrator in Valkey; the queue's own keys begin with `bull:`. */
export const KEYS = {
  /** Hash: the agent's view as JSON fragments, its plan, fence and attempts. */
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
  /** Stream: every change, in order. */
  events: 'orchestrator:events',
} as const;

/** Pub/sub channels: an AgentView or a TaskView as JSON on each change; {agentId, cleanedAt} once nothing is left of one. */
export const CHANNELS = {
  agents: 'orchestrator:agents',
  tasks: 'orchestrator:tasks',
  cleaned: 'orchestrator:cleaned',
} as const;
