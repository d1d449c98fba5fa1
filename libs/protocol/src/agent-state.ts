import { AgentState } from './gen/capstan/v1/agent_pb.js';
import { WireFault } from './wire-fault.js';

export type AgentStateName = 'queued' | 'spawning' | 'running' | 'completed' | 'failed' | 'killed';

/**
 * Every legal change of an agent's state (ORC-107). A retry before GO goes from spawning back to queued; a terminal
 * state is never left.
 */
export const AGENT_TRANSITIONS: Readonly<Record<AgentStateName, readonly AgentStateName[]>> = {
  queued: ['spawning', 'failed', 'killed'],
  spawning: ['queued', 'running', 'failed', 'killed'],
  running: ['completed', 'failed', 'killed'],
  completed: [],
  failed: [],
  killed: [],
};

const states: Record<AgentStateName, AgentState> = {
  queued: AgentState.QUEUED,
  spawning: AgentState.SPAWNING,
  running: AgentState.RUNNING,
  completed: AgentState.COMPLETED,
  failed: AgentState.FAILED,
  killed: AgentState.KILLED,
};
const names = new Map(Object.entries(states).map(([name, state]) => [state, name as AgentStateName]));

/** The name of a state on the wire. @throws {WireFault} `payload-malformed` where it names none. */
export function agentStateName(state: AgentState): AgentStateName {
  const name = names.get(state);
  if (name === undefined) throw new WireFault('payload-malformed', `agent state ${String(state)}`);
  return name;
}

/** The number on the wire of a state. */
export function agentState(name: AgentStateName): AgentState {
  return states[name];
}

/** Whether a string, say from a store, names a state. */
export function isAgentStateName(text: string): text is AgentStateName {
  return Object.hasOwn(states, text);
}

/** Whether the state is an end: completed, failed or killed. */
export function isTerminal(name: AgentStateName): boolean {
  return AGENT_TRANSITIONS[name].length === 0;
}
