import type { Envelope } from '@capstan/protocol';
import type { CommandState } from './command-state.js';

export type CommandKind = 'agent.spawn' | 'agent.status' | 'agent.kill' | 'agent.kill-all';

/** Why a command had no effect. */
export interface Refusal {
  code: string;
  sentence: string;
}

/** A command that the hub has signed, and what became of it. */
export interface CommandRecord {
  readonly id: string;
  readonly kind: CommandKind;
  readonly instance: string;
  readonly agentId: string;
  readonly envelope: Envelope;
  /** SHA-256 of the envelope's PAE, hex: what receipts and acknowledgements name it by. */
  readonly digest: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly state: CommandState;
  readonly deliveredAt: Date | null;
  /** When the first receipt, or the end without one, was known. */
  readonly settledAt: Date | null;
  readonly refusal: Refusal | null;
}

/** Kills go first, wait for nothing, and are offered while a connection is suspended. */
export function isKill(kind: CommandKind): boolean {
  return kind === 'agent.kill' || kind === 'agent.kill-all';
}
