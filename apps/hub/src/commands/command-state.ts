/**
 * States of a command as a message (FED-08). PENDING: on the hub's disk. DELIVERED: on the spoke's disk too. FAILED:
 * refused, it has had no effect. TIMEOUT: expired before the hub heard that the spoke has it.
 */
export const COMMAND_STATES = ['PENDING', 'DELIVERED', 'FAILED', 'TIMEOUT'] as const;
export type CommandState = (typeof COMMAND_STATES)[number];

/**
 * TIMEOUT is what the hub concluded alone: the spoke may have taken the command in time and the word of it come late.
 * What the spoke has signed outranks the conclusion.
 */
export const COMMAND_TRANSITIONS: Readonly<Record<CommandState, readonly CommandState[]>> = {
  PENDING: ['DELIVERED', 'FAILED', 'TIMEOUT'],
  DELIVERED: ['FAILED'],
  TIMEOUT: ['DELIVERED', 'FAILED'],
  FAILED: [],
};

export function mayBecome(from: CommandState, to: CommandState): boolean {
  return COMMAND_TRANSITIONS[from].includes(to);
}

/** Every state from which `to` can be reached in one step. */
export function statesBefore(to: CommandState): CommandState[] {
  return COMMAND_STATES.filter((from) => mayBecome(from, to));
}

/** Whether nobody needs to wait for an answer any longer. */
export function isSettledState(state: CommandState): boolean {
  return state === 'FAILED' || state === 'TIMEOUT';
}

export function isCommandState(text: string): text is CommandState {
  return COMMAND_STATES.some((state) => state === text);
}
