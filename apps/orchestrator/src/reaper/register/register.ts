import type { KillHandle } from '@capstan/sandbox';
import type { Lease } from '../lease/lease.js';
import {
  restoreHandle,
  storeHandle,
  type Cause,
  type Death,
  type Order,
  type RegisterRecord,
  type Scope,
} from './record.js';

/** How long kills and tombstones are remembered at least: longer than any command stays valid. */
const RETENTION_MS = 7 * 24 * 3600 * 1000;
/** How many are remembered however old they are; the same of agents that ended by themselves. */
const RETAINED = 512;

export interface AgentEntry {
  agentId: string;
  tenant: string;
  handle: KillHandle;
  registeredAt: number;
  /** Milliseconds without a renewal after which it is killed; 0 where it lives on without the hub. */
  killAfterMs: number;
  /** Orders to kill that were taken; null is a local one. */
  orders: { at: number; order: Order | null; cause?: Cause }[];
  death?: Death;
}

export type Refusal = 'tombstoned' | 'kill-epoch' | 'disarmed';

interface EpochEntry {
  scope: Scope;
  epoch: bigint;
  armed: boolean;
  /** The owner has stopped the scope: only he re-arms it, whoever raised the epoch since. */
  isOwners: boolean;
}

export interface KillAllEntry {
  at: number;
  order: Order;
  epoch: bigint;
  agents: string[];
  /** The signed envelope, base64; empty where none was made. */
  statement: string;
}

/**
 * What the reaper knows: agents and their handles, kill epochs, tombstones, answers already given.
 *
 * Pure: it changes by `apply` alone, so that the state after a restart is the state before it.
 */
export class Register {
  private readonly agents = new Map<string, AgentEntry>();
  private readonly tombstones = new Map<string, { at: number; death: Death }>();
  private readonly answers = new Map<string, { at: number; agentId: string; order: Order; death: Death }>();
  private readonly killAlls = new Map<string, KillAllEntry>();
  private readonly epochs = new Map<string, EpochEntry>();
  private latest = 0;
  private renewed: Lease | undefined;

  apply(record: RegisterRecord): void {
    this.latest = Math.max(this.latest, record.at);
    switch (record.kind) {
      case 'agent': {
        const { agentId, tenant, at } = record;
        this.agents.set(agentId, {
          agentId,
          tenant,
          handle: restoreHandle(record.handle),
          registeredAt: at,
          killAfterMs: record.killAfterMs ?? 0,
          orders: [],
        });
        return;
      }
      case 'order': {
        const { at, order, cause } = record;
        this.agents.get(record.agentId)?.orders.push({ at, order, ...(cause !== undefined && { cause }) });
        return;
      }
      case 'end': {
        const entry = this.agents.get(record.agentId);
        if (entry !== undefined) entry.death = record.death;
        return;
      }
      case 'tombstone':
        this.tombstones.set(record.agentId, record);
        return;
      case 'answer':
        this.answers.set(answerKey(record.order, record.agentId), record);
        return;
      case 'epoch': {
        const { scope, epoch } = record;
        const wasOwners = this.epochs.get(scopeKey(scope))?.isOwners === true;
        const isOwners = wasOwners || record.isOwners === true;
        this.epochs.set(scopeKey(scope), { scope, epoch: BigInt(epoch), armed: false, isOwners });
        return;
      }
      case 'kill-all': {
        const { at, order, epoch, agents, statement = '' } = record;
        this.killAlls.set(orderKey(order), { at, order, epoch: BigInt(epoch), agents, statement });
        return;
      }
      case 'rearmed': {
        const entry = this.epochs.get(scopeKey(record.scope));
        if (entry !== undefined) Object.assign(entry, { armed: true, isOwners: false });
        return;
      }
      case 'lease': {
        const { hubId, sessionEpoch, counter, durationMs, taken } = record;
        this.renewed = { hubId, sessionEpoch: BigInt(sessionEpoch), counter: BigInt(counter), durationMs, taken };
        return;
      }
      case 'probe':
        return;
    }
  }

  /** The last renewal that was taken. */
  get lease(): Lease | undefined {
    return this.renewed;
  }

  agent(agentId: string): AgentEntry | undefined {
    return this.agents.get(agentId);
  }

  /** Agents that were not yet observed gone, of one tenant or of all. */
  living(scope?: Scope): AgentEntry[] {
    const all = [...this.agents.values()].filter((entry) => entry.death === undefined);
    return scope?.scope === 'tenant' ? all.filter((entry) => entry.tenant === scope.id) : all;
  }

  all(): AgentEntry[] {
    return [...this.agents.values()];
  }

  tombstone(agentId: string): Death | undefined {
    return this.tombstones.get(agentId)?.death;
  }

  /** The death of an agent that was registered, with the observation that was signed first. */
  death(agentId: string): Death | undefined {
    const entry = this.agents.get(agentId);
    if (entry?.death?.observation !== '') return entry?.death;
    // Signed for an order, and kept with the answer to it.
    const answers = entry.orders.map(({ order }) => (order === null ? undefined : this.answer(order, agentId)));
    return answers.find((death) => death !== undefined);
  }

  /** What a repeated command is answered. */
  answer(order: Order, agentId: string): Death | undefined {
    return this.answers.get(answerKey(order, agentId))?.death;
  }

  killAll(order: Order): KillAllEntry | undefined {
    return this.killAlls.get(orderKey(order));
  }

  epoch(scope: Scope): bigint {
    return this.epochs.get(scopeKey(scope))?.epoch ?? 0n;
  }

  /** Whether the owner himself has stopped the scope. */
  isOwners(scope: Scope): boolean {
    return this.epochs.get(scopeKey(scope))?.isOwners === true;
  }

  epochList(): { scope: Scope; epoch: bigint; armed: boolean }[] {
    return [...this.epochs.values()];
  }

  /** Why an agent of this tenant, admitted under these epochs, must not start; null if it may. */
  refusal(agentId: string, tenant: string, admittedUnder: (scope: Scope) => bigint): Refusal | null {
    const entry = this.agents.get(agentId);
    if (this.tombstones.has(agentId) || (entry !== undefined && wasOrderedDead(entry))) return 'tombstoned';
    const scopes: Scope[] = [
      { scope: 'mesh', id: '' },
      { scope: 'instance', id: '' },
      { scope: 'tenant', id: tenant },
    ];
    if (scopes.some((scope) => admittedUnder(scope) < this.epoch(scope))) return 'kill-epoch';
    return scopes.some((scope) => this.epochs.get(scopeKey(scope))?.armed === false) ? 'disarmed' : null;
  }

  /** The records that make this state anew, without what is old enough to be forgotten. */
  snapshot(): RegisterRecord[] {
    const horizon = this.latest - RETENTION_MS;
    const ended = this.all().filter(({ death }) => death !== undefined);
    const killed = recent(ended.filter(wasOrderedDead), (it) => it.registeredAt, horizon);
    const finished = recent(
      ended.filter((entry) => !wasOrderedDead(entry)),
      (it) => it.registeredAt,
      Infinity,
    );
    const records: RegisterRecord[] = [];
    for (const { scope, epoch, armed, isOwners } of this.epochs.values()) {
      records.push({ kind: 'epoch', at: this.latest, scope, epoch: String(epoch), isOwners });
      if (armed) records.push({ kind: 'rearmed', at: this.latest, scope });
    }
    if (this.renewed !== undefined) records.push(leaseRecord(this.renewed, this.latest));
    for (const entry of [...killed, ...finished, ...this.living()]) records.push(...agentRecords(entry));
    for (const [agentId, { at, death }] of recent([...this.tombstones], ([, it]) => it.at, horizon)) {
      records.push({ kind: 'tombstone', at, agentId, death });
    }
    for (const { at, agentId, order, death } of recent([...this.answers.values()], (it) => it.at, horizon)) {
      records.push({ kind: 'answer', at, agentId, order, death });
    }
    for (const { epoch, ...all } of recent([...this.killAlls.values()], (it) => it.at, horizon)) {
      records.push({ kind: 'kill-all', ...all, epoch: String(epoch) });
    }
    return records;
  }
}

/** Whether a kill was ordered, done or not: such an agent never starts again. */
export function wasOrderedDead(entry: AgentEntry): boolean {
  return entry.orders.length > 0;
}

function agentRecords(entry: AgentEntry): RegisterRecord[] {
  const { agentId, tenant, registeredAt, killAfterMs, orders, death } = entry;
  return [
    { kind: 'agent', at: registeredAt, agentId, tenant, handle: storeHandle(entry.handle), killAfterMs },
    ...orders.map((taken): RegisterRecord => ({ kind: 'order', agentId, ...taken })),
    ...(death === undefined ? [] : [{ kind: 'end' as const, at: registeredAt, agentId, death }]),
  ];
}

function leaseRecord({ hubId, sessionEpoch, counter, durationMs, taken }: Lease, at: number): RegisterRecord {
  const grown = { sessionEpoch: String(sessionEpoch), counter: String(counter) };
  return { kind: 'lease', at, hubId, ...grown, durationMs, taken };
}

/** The newest ones, and all that are not older than the horizon. */
function recent<T>(all: T[], at: (it: T) => number, horizon: number): T[] {
  const sorted = all.toSorted((a, b) => at(a) - at(b));
  return sorted.filter((it, index) => at(it) >= horizon || index >= sorted.length - RETAINED);
}

// As JSON, so that no two different pairs make one key.
const orderKey = (order: Order): string => JSON.stringify([order.issuer, order.id]);
const answerKey = (order: Order, agentId: string): string => JSON.stringify([order.issuer, order.id, agentId]);
const scopeKey = ({ scope, id }: Scope): string => JSON.stringify([scope, id]);
