import type { KillHandle } from '@capstan/sandbox';
import { restoreHandle, storeHandle, type Death, type Order, type RegisterRecord, type Scope } from './record.js';

/** How long kills and tombstones are remembered at least: longer than any command stays valid. */
const RETENTION_MS = 7 * 24 * 3600 * 1000;
/** How many are remembered however old they are; the same of agents that ended by themselves. */
const RETAINED = 512;

export interface AgentEntry {
  agentId: string;
  tenant: string;
  handle: KillHandle;
  registeredAt: number;
  /** Orders to kill that were taken; null is a local one. */
  orders: { at: number; order: Order | null }[];
  death?: Death;
}

export type Refusal = 'tombstoned' | 'kill-epoch' | 'disarmed';

interface KillAllEntry {
  at: number;
  order: Order;
  epoch: bigint;
  agents: string[];
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
  private readonly epochs = new Map<string, { scope: Scope; epoch: bigint; armed: boolean }>();
  private latest = 0;

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
          orders: [],
        });
        return;
      }
      case 'order':
        this.agents.get(record.agentId)?.orders.push({ at: record.at, order: record.order });
        return;
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
      case 'epoch':
        this.epochs.set(scopeKey(record.scope), { scope: record.scope, epoch: BigInt(record.epoch), armed: false });
        return;
      case 'kill-all': {
        const { at, order, epoch, agents } = record;
        this.killAlls.set(orderKey(order), { at, order, epoch: BigInt(epoch), agents });
        return;
      }
      case 'rearmed': {
        const entry = this.epochs.get(scopeKey(record.scope));
        if (entry !== undefined) entry.armed = true;
        return;
      }
    }
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
    for (const { scope, epoch, armed } of this.epochs.values()) {
      records.push({ kind: 'epoch', at: this.latest, scope, epoch: String(epoch) });
      if (armed) records.push({ kind: 'rearmed', at: this.latest, scope });
    }
    for (const entry of [...killed, ...finished, ...this.living()]) records.push(...agentRecords(entry));
    for (const [agentId, { at, death }] of recent([...this.tombstones], ([, it]) => it.at, horizon)) {
      records.push({ kind: 'tombstone', at, agentId, death });
    }
    for (const { at, agentId, order, death } of recent([...this.answers.values()], (it) => it.at, horizon)) {
      records.push({ kind: 'answer', at, agentId, order, death });
    }
    for (const { at, order, epoch, agents } of recent([...this.killAlls.values()], (it) => it.at, horizon)) {
      records.push({ kind: 'kill-all', at, order, epoch: String(epoch), agents });
    }
    return records;
  }
}

/** Whether a kill was ordered, done or not: such an agent never starts again. */
export function wasOrderedDead(entry: AgentEntry): boolean {
  return entry.orders.length > 0;
}

function agentRecords(entry: AgentEntry): RegisterRecord[] {
  const { agentId, tenant, registeredAt, orders, death } = entry;
  return [
    { kind: 'agent', at: registeredAt, agentId, tenant, handle: storeHandle(entry.handle) },
    ...orders.map(({ at, order }): RegisterRecord => ({ kind: 'order', at, agentId, order })),
    ...(death === undefined ? [] : [{ kind: 'end' as const, at: registeredAt, agentId, death }]),
  ];
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
