import { type Fault, makeSchedule, type Schedule } from './schedule.ts';
import { shrink } from './shrink.ts';

const BOUNDS = { instances: ['harbor', 'quay'], hubs: 2, hasClocks: true, lengthMs: 4000 };
const many = Array.from({ length: 300 }, (_, run) => makeSchedule(1, run, BOUNDS));
const nameOf = (fault: Fault): string => ('target' in fault ? `${fault.kind} ${fault.target}` : fault.kind);

describe('a schedule', () => {
  it('is the same for the same seed and run, and another for any other', () => {
    expect(makeSchedule(1, 7, BOUNDS)).toEqual(many[7]);
    const faults = [...many, ...Array.from({ length: 300 }, (_, run) => makeSchedule(2, run, BOUNDS))].map((it) =>
      JSON.stringify(it.faults),
    );
    expect(new Set(faults).size).toBe(600);
  });

  it('hits every part in both ways, and spoils links in four, within some hundred runs', () => {
    const parts = ['spoke', 'orchestrator', 'reaper', 'valkey'];
    const ofInstances = BOUNDS.instances.flatMap((id) => parts.map((part) => `${id}/${part}`));
    const clocks = ['hub', 'hub-1', 'hub-valkey', ...ofInstances];
    const all = [...clocks, 'postgres'].flatMap((target) => [`kill ${target}`, `freeze ${target}`]);
    const seen = new Set(many.flatMap(({ faults }) => faults.map(nameOf)));
    expect([...seen].sort()).toEqual(
      [...all, ...clocks.map((target) => `clock ${target}`), 'cut', 'silent', 'one-way', 'slow'].sort(),
    );
  });

  it('moves no clock where none can be moved, and names no second hub where there is one', () => {
    const plain = { ...BOUNDS, hubs: 1, hasClocks: false };
    const names = Array.from({ length: 300 }, (_, run) => makeSchedule(1, run, plain)).flatMap((it) =>
      it.faults.map(nameOf),
    );
    expect(names.filter((name) => /clock|hub-/.test(name))).toEqual([]);
  });

  it('orders agents by distinct names, and nothing of an agent before it', () => {
    const spawned = many.flatMap(({ orders }) => orders.filter(({ kind }) => kind === 'spawn'));
    expect(new Set(spawned.map((order) => 'agentId' in order && order.agentId)).size).toBe(spawned.length);
    for (const { orders } of many) {
      const known = new Set<string>();
      for (const order of orders) {
        if (!('agentId' in order)) continue;
        if (order.kind === 'spawn') known.add(order.agentId);
        expect(known).toContain(order.agentId);
      }
    }
  });

  it('has orders of every kind that the hub only routes, of one instance for another', () => {
    const routed = many.flatMap(({ orders }) =>
      orders.flatMap((order) => ('origin' in order && order.origin !== order.instance ? [order.kind] : [])),
    );
    expect([...new Set(routed)].sort()).toEqual(['kill', 'spawn', 'status']);
    const all = many.flatMap(({ orders }) => orders.filter((order) => 'agentId' in order));
    expect(all.filter((order) => order.origin === order.instance)).toEqual([]);
  });

  it('re-arms whatever it stops', () => {
    for (const { orders } of many) {
      const scopesOf = (kind: string) => orders.flatMap((order) => (order.kind === kind ? [order] : []));
      expect(scopesOf('rearm')).toHaveLength(scopesOf('kill-all').length);
    }
  });
});

describe('the smallest schedule that fails', () => {
  const kill = (target: string): Fault => ({ kind: 'kill', target, atMs: 0 });
  const schedule: Schedule = {
    seed: 1,
    run: 0,
    orders: [],
    faults: [kill('hub'), kill('postgres'), kill('quay/reaper')],
  };
  const needs = (target: string) => (candidate: Schedule) =>
    Promise.resolve(candidate.faults.some((fault) => 'target' in fault && fault.target === target));

  it('has only the faults that it takes', async () => {
    expect((await shrink(schedule, needs('postgres'))).faults).toEqual([kill('postgres')]);
    expect(await shrink(schedule, () => Promise.resolve(false))).toEqual(schedule);
  });

  it('is not looked for longer than there is time', async () => {
    const tried: Schedule[] = [];
    const fails = (candidate: Schedule) => Promise.resolve(tried.push(candidate) > 0);
    await shrink(schedule, fails, () => tried.length < 1);
    expect(tried).toHaveLength(1);
  });
});
