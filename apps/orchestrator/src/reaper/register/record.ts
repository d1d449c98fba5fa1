import type { KillHandle } from '@capstan/sandbox';
import type { Moment } from '../lease/clock.js';

/** The command that ordered a death; a local order has none. */
export interface Order {
  issuer: string;
  id: string;
  /** SHA-256 of the command's PAE, hex. */
  digest: string;
}

/** Why the reaper killed without an order. */
export type Cause = 'lease-expired';

export type DeathOutcome = 'killed' | 'already-gone' | 'tombstoned';

/** What was observed and signed, once and for all. */
export interface Death {
  outcome: DeathOutcome;
  /** The signed envelope, base64; empty in an `end` whose observation is kept in the answer to an order. */
  observation: string;
  orderedAtMs: number;
  signalledAtMs: number;
  observedAtMs: number;
  membersBefore: number;
}

export type ScopeName = 'mesh' | 'instance' | 'tenant';

/** A scope of kill epochs; `id` names the tenant and is empty for the others. */
export interface Scope {
  scope: ScopeName;
  id: string;
}

/** A handle as JSON can carry it. */
export type StoredHandle = Omit<KillHandle, 'processes' | 'pidNamespace'> & {
  processes: { pid: number; startTicks: string }[];
  pidNamespace: string;
};

/** One line of the register's journal. */
export type RegisterRecord =
  | { kind: 'agent'; at: number; agentId: string; tenant: string; handle: StoredHandle; killAfterMs?: number }
  /** A kill was ordered and is being carried out; it goes on after a restart. */
  | { kind: 'order'; at: number; agentId: string; order: Order | null; cause?: Cause }
  | { kind: 'end'; at: number; agentId: string; death: Death }
  | { kind: 'tombstone'; at: number; agentId: string; death: Death }
  /** The answer to one command about one agent, for its repetitions. */
  | { kind: 'answer'; at: number; agentId: string; order: Order; death: Death }
  | { kind: 'epoch'; at: number; scope: Scope; epoch: string; isOwners?: boolean }
  /** `statement`: the signed envelope, base64, for repetitions of the order; absent in registers of before. */
  | { kind: 'kill-all'; at: number; order: Order; epoch: string; agents: string[]; statement?: string }
  | { kind: 'rearmed'; at: number; scope: Scope }
  /** A renewal of the hub was taken; numbers that only grow are decimal texts. */
  | {
      kind: 'lease';
      at: number;
      hubId: string;
      sessionEpoch: string;
      counter: string;
      durationMs: number;
      taken: Moment;
    }
  /** Nothing changes: it proves that what a kill needs on disk could be written. */
  | { kind: 'probe'; at: number };

export function storeHandle(handle: KillHandle): StoredHandle {
  return {
    ...handle,
    processes: handle.processes.map(({ pid, startTicks }) => ({ pid, startTicks: String(startTicks) })),
    pidNamespace: String(handle.pidNamespace),
  };
}

export function restoreHandle(stored: StoredHandle): KillHandle {
  return {
    ...stored,
    processes: stored.processes.map(({ pid, startTicks }) => ({ pid, startTicks: BigInt(startTicks) })),
    pidNamespace: BigInt(stored.pidNamespace),
  };
}
