import { Chance } from './random.ts';

/** A part of the mesh that can be hit, as the mesh names its process: "hub", "quay/reaper". */
export type Target = string;

export type Fault =
  /** SIGKILL; its supervisor starts it again. */
  | { kind: 'kill'; target: Target; atMs: number }
  /** SIGSTOP, and SIGCONT when the time is over. */
  | { kind: 'freeze'; target: Target; atMs: number; forMs: number }
  /** The wall clock of a part is off by `byMs`, and right again when the time is over: it jumps twice. */
  | { kind: 'clock'; target: Target; atMs: number; forMs: number; byMs: number }
  /** `cut`: both ends are told, and no new link comes about. `silent`: nothing passes, and nobody is told. `one-way`: nothing
   * passes from the hub. `slow`: each piece comes `delayMs` later. */
  | { kind: 'cut' | 'silent' | 'one-way'; instance: string; atMs: number; forMs: number }
  | { kind: 'slow'; instance: string; atMs: number; forMs: number; delayMs: number };

/** `brief` ends by itself and leaves a commit; `lasting` works until it is killed. */
export type Work = 'brief' | 'lasting';

export type Order = {
  atMs: number;
  /** The hub that is asked; a number beyond those that there are stands for another of them. */
  via: number;
} & (
  | ({ kind: 'spawn'; work: Work; expiresInMs: number; killAfterMs?: number } & OfAgent)
  | ({ kind: 'status' | 'kill' } & OfAgent)
  | { kind: 'kill-all' | 'rearm'; scope: KillScope }
);

interface OfAgent {
  agentId: string;
  instance: string;
  /** The instance that orders and signs it, where the hub only routes it. */
  origin?: string;
}

/** An instance's name, or all of them. */
export type KillScope = { scope: 'mesh' } | { scope: 'instance'; instance: string };

/** What one run does and suffers; times are milliseconds from its beginning. */
export interface Schedule {
  seed: number;
  run: number;
  orders: Order[];
  faults: Fault[];
}

export interface Bounds {
  instances: readonly string[];
  /** Hub processes over one database. */
  hubs: number;
  /** Whether the clocks of parts can be moved. */
  hasClocks: boolean;
  /** For orders; faults begin early enough to meet them. */
  lengthMs: number;
}

const PARTS_OF_INSTANCE = ['spoke', 'orchestrator', 'reaper', 'valkey'];
const LINK_FAULTS = ['cut', 'silent', 'one-way', 'slow'] as const;
const SPAWNS = 6;
/** Some commands must be delivered soon or not at all, most may wait longer than any fault lasts. */
const EXPIRES_IN_MS = { soon: 1500, late: 600_000 };
/** Agents with a lease outlive every fault here, but for a clock that is set forward. */
const KILL_AFTER_MS = 300_000;
const HOUR_MS = 3_600_000;
/** Small ones stay within what clocks may differ by; those of an hour are beyond every lifetime here but a kill's. */
const JUMPS_MS = [HOUR_MS, -HOUR_MS, HOUR_MS, -HOUR_MS, 20_000, -20_000];

/** The schedule of one run: a pure function of seed and run. */
export function makeSchedule(seed: number, run: number, bounds: Bounds): Schedule {
  // Neighbouring seeds and runs must not look alike.
  const chance = new Chance(Math.imul(seed ^ 0x9e3779b9, 2_654_435_761) + Math.imul(run + 1, 0x85ebca6b));
  const orders = [...agentOrders(chance, seed, run, bounds), ...stopOrders(chance, bounds)];
  return { seed, run, orders: byTime(orders), faults: byTime(makeFaults(chance, bounds)) };
}

function agentOrders(chance: Chance, seed: number, run: number, { instances, lengthMs }: Bounds): Order[] {
  return Array.from({ length: SPAWNS }, (_, index) => {
    const agentId = `chaos-${String(seed)}-${String(run)}-${String(index)}`;
    const instance = chance.pick(instances);
    const others = instances.filter((each) => each !== instance);
    const about = { agentId, instance, ...(chance.happens(0.25) ? { origin: chance.pick(others) } : {}) };
    const atMs = chance.between(0, lengthMs / 2);
    const work = chance.happens(0.5) ? 'brief' : 'lasting';
    const expiresInMs = chance.happens(0.2) ? EXPIRES_IN_MS.soon : EXPIRES_IN_MS.late;
    const lease = chance.happens(0.3) ? { killAfterMs: KILL_AFTER_MS } : {};
    const via = (): number => chance.between(0, 1);
    const orders: Order[] = [{ kind: 'spawn', atMs, via: via(), ...about, work, expiresInMs, ...lease }];
    const later = (afterMs: number) => ({ atMs: chance.between(atMs + afterMs, lengthMs), via: via(), ...about });
    if (chance.happens(0.4)) orders.push({ kind: 'status', ...later(100) });
    if (chance.happens(0.6)) orders.push({ kind: 'kill', ...later(50) });
    return orders;
  }).flat();
}

function stopOrders(chance: Chance, { instances, lengthMs }: Bounds): Order[] {
  if (!chance.happens(0.35)) return [];
  const scope: KillScope = chance.happens(0.5)
    ? { scope: 'mesh' }
    : { scope: 'instance', instance: chance.pick(instances) };
  const atMs = chance.between(lengthMs / 4, (lengthMs * 3) / 4);
  return [
    { kind: 'kill-all', atMs, via: chance.between(0, 1), scope },
    { kind: 'rearm', atMs: atMs + chance.between(300, 1500), via: chance.between(0, 1), scope },
  ];
}

function makeFaults(chance: Chance, bounds: Bounds): Fault[] {
  // Orders given while a store is away are a promise of their own: every third run makes sure of some.
  const first = chance.happens(0.33) ? [storeOutage(chance, bounds)] : [];
  return [...first, ...Array.from({ length: chance.between(1, 3) }, () => makeFault(chance, bounds))];
}

function storeOutage(chance: Chance, { instances, lengthMs, hubs }: Bounds): Fault {
  const ofHubs = hubs === 1 ? ['postgres'] : ['postgres', 'hub-valkey'];
  const target = chance.pick([...ofHubs, ...instances.map((instance) => `${instance}/valkey`)]);
  return { kind: 'freeze', target, atMs: chance.between(200, lengthMs / 2), forMs: chance.between(1500, 3000) };
}

function makeFault(chance: Chance, { instances, lengthMs, hubs, hasClocks }: Bounds): Fault {
  const atMs = chance.between(100, lengthMs - 500);
  const forMs = chance.between(200, 2500);
  if (chance.happens(0.3)) {
    const [kind, instance] = [chance.pick(LINK_FAULTS), chance.pick(instances)];
    if (kind === 'slow') return { kind, instance, atMs, forMs, delayMs: chance.between(50, 600) };
    return { kind, instance, atMs, forMs };
  }
  const parts = instances.flatMap((instance) => PARTS_OF_INSTANCE.map((part) => `${instance}/${part}`));
  const ofHubs = hubs === 1 ? ['hub', 'hub'] : ['hub', 'hub', 'hub-1', 'hub-1', 'hub-valkey'];
  if (hasClocks && chance.happens(0.25)) {
    const target = chance.pick([...ofHubs, ...parts]);
    return { kind: 'clock', target, atMs, forMs, byMs: chance.pick(JUMPS_MS) };
  }
  const target = chance.pick([...ofHubs, 'postgres', ...parts]);
  return chance.happens(0.6) ? { kind: 'kill', target, atMs } : { kind: 'freeze', target, atMs, forMs };
}

function byTime<T extends { atMs: number }>(list: T[]): T[] {
  return list.toSorted((a, b) => a.atMs - b.atMs);
}
