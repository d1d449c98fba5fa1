import type { Envelope } from '@capstan/protocol';
import type { CommandState } from './command-state.js';

export type CommandKind =
  'agent.spawn' | 'agent.status' | 'agent.kill' | 'agent.kill-all' | 'agent.rearm' | 'kill.probe';

/** Why a command had no effect. */
export interface Refusal {
  code: string;
  sentence: string;
}

/** A command that the hub has signed or admitted, and what became of it. */
export interface CommandRecord {
  readonly id: string;
  readonly kind: CommandKind;
  readonly instance: string;
  readonly agentId: string;
  /** Operator or instance that has signed it; null where this hub has. */
  readonly issuer: string | null;
  readonly envelope: Envelope;
  /** The hub's first admission of another's command; null for its own. */
  readonly admission: Envelope | null;
  /** SHA-256 of the envelope's PAE, hex: what receipts and acknowledgements name it by. */
  readonly digest: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly state: CommandState;
  readonly deliveredAt: Date | null;
  /** When the first receipt (of a kill: the first that proves the death), or the end without one, was known. */
  readonly settledAt: Date | null;
  /** Why it is over; of a kill that is open, what its instance has said to it. */
  readonly refusal: Refusal | null;
}

/** Kills go first, wait for nothing, and are offered while a connection is suspended. */
export const KILL_KINDS: CommandKind[] = ['agent.kill', 'agent.kill-all'];

export function isKill(kind: CommandKind): boolean {
  return KILL_KINDS.includes(kind);
}

/**
 * Whether only the reaper's word ends it: a kill of this hub's own. What somebody else has signed his target's owner may
 * refuse, and he is told.
 */
export function isPursued({ kind, issuer }: Pick<CommandRecord, 'kind' | 'issuer'>): boolean {
  return isKill(kind) && issuer === null;
}

/**
 * Whether its instance must still be told of it: until it has it on disk; of a kill until the death is proven too, since
 * an instance that starts again in between may have forgotten that an answer is due.
 */
export function isOpen({ kind, state, settledAt }: CommandRecord): boolean {
  return state === 'PENDING' || (state === 'DELIVERED' && isKill(kind) && settledAt === null);
}
