import type { KillHandle } from '@capstan/sandbox';

/** The command that ordered a death; a local order has none. */
export interface Order {
  issuer: string;
  id: string;
  /** SHA-256 of the command's PAE, hex. */
  digest: string;
}

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
  | { kind: 'agent'; at: number; agentId: string; tenant: string; handle: StoredHandle }
  /** A kill was ordered and is being carried out; it goes on after a restart. */
  | { kind: 'order'; at: number; agentId: string; order: Order | null }
  | { kind: 'end'; at: number; agentId: string; death: Death }
  | { kind: 'tombstone'; at: number; agentId: string; death: Death }
  /** The answer to one command about one agent, for its repetitions. */
  | { kind: 'answer'; at: number; agentId: string; order: Order; death: Death }
  | { kind: 'epoch'; at: number; scope: Scope; epoch: string }
  | { kind: 'kill-all'; at: number; order: Order; epoch: string; agents: string[] }
  | { kind: 'rearmed'; at: number; scope: Scope };

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
