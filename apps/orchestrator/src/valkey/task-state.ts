import type { AgentStateName } from '@capstan/protocol';

/** States of a task at its instance (ORC-107). */
export type TaskStateName = 'pending' | 'assigned' | 'executing' | 'completed' | 'failed';

/** What a task's state is while the agent that works on it is in a state. A task follows its newest agent. */
export const TASK_STATE_OF_AGENT: Readonly<Record<AgentStateName, TaskStateName>> = {
  queued: 'pending',
  spawning: 'assigned',
  running: 'executing',
  completed: 'completed',
  failed: 'failed',
  killed: 'failed',
};

/** A task as this instance knows it. */
export interface TaskView {
  taskId: string;
  agentId: string;
  state: TaskStateName;
}
