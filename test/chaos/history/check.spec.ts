import {
  AGENT,
  home,
  killAllOrder,
  killOrder,
  registered,
  soundHistory,
  SPAWN_ID,
  spawnOrder,
  spawnRow,
} from './builder.ts';
import { check } from './check.ts';
import type { History } from './history.ts';

const rulesOf = (changes: Partial<History>): string[] => [
  ...new Set(check(soundHistory(changes)).map(({ rule }) => rule)),
];

describe('the checker of histories', () => {
  it('finds nothing in a sound one', () => {
    expect(check(soundHistory())).toEqual([]);
    expect(rulesOf({ orders: [spawnOrder(), killOrder({ answer: 'accepted', confirmed: true })] })).toEqual([]);
  });

  it('accepts that an order without an answer has had its effect, or none', () => {
    const unknown = spawnOrder({ answer: 'unknown' });
    expect(rulesOf({ orders: [unknown] })).toEqual([]);
    const nothing = {
      calls: [],
      commands: [],
      receipts: [],
      agents: [],
      branches: [],
      instances: [home({ register: [] })],
    };
    expect(rulesOf({ orders: [unknown], ...nothing })).toEqual([]);
  });

  describe('an acknowledged command', () => {
    it.each<[string, Partial<History>, string[]]>([
      [
        'that the hub has no record of',
        { commands: [], calls: [], agents: [], instances: [home({ register: [] })] },
        ['lost'],
      ],
      ['that is still on its way', { commands: [spawnRow({ state: 'PENDING', isSettled: false })] }, ['unsettled']],
      ['that never got a receipt', { commands: [spawnRow({ isSettled: false })] }, ['unsettled']],
      ['that its instance forgot', { instances: [home({ ledger: [] })] }, ['not-on-disk']],
      [
        'to be refused since its instance forgot it early',
        { instances: [home({ ledger: [], prunedThrough: 601_000 })] },
        [],
      ],
      ['without an end', { receipts: [] }, ['outcomes']],
      [
        'with two ends',
        { receipts: ['finished', 'finished'].map((kind) => ({ commandId: SPAWN_ID, agentId: AGENT, kind })) },
        ['outcomes'],
      ],
      ['whose agent runs for ever', { agents: [{ agentId: AGENT, state: 'running' }] }, ['outcomes']],
      [
        'of whose end hub and instance say different things',
        { instances: [home({ agents: [{ agentId: AGENT, state: 'killed' }] })] },
        ['outcomes'],
      ],
    ])('is found %s', (_what, changes, rules) => {
      expect(rulesOf(changes)).toEqual(rules);
    });

    it('is found lost where it is one of a kill of all', () => {
      const line = { instance: 'quay', commandId: 'kill-all-1', confirmed: true, alive: [] };
      expect(rulesOf({ orders: [spawnOrder(), killAllOrder(line)] })).toEqual(['lost']);
    });
  });

  it('is found lost where it is a kill whose hub was killed while the database was away, proven or not', () => {
    const during = ['freeze postgres', 'kill hub'];
    for (const confirmed of [true, false]) {
      const order = killOrder({ commandId: 'kill-1', during, confirmed });
      expect(rulesOf({ orders: [spawnOrder(), order] })).toEqual(['lost']);
    }
  });

  it('is found lost where it was routed: its origin has the answer, and the hub no record of the order', () => {
    const spawned = spawnOrder({ origin: 'harbor' });
    delete spawned.commandId;
    expect(rulesOf({ orders: [spawned] })).toEqual([]);
    expect(rulesOf({ orders: [spawned, killOrder({ origin: 'harbor' })] })).toEqual(['lost']);
  });

  it('may be forgotten by the ledger once it has expired', () => {
    expect(rulesOf({ commands: [spawnRow({ hasExpired: true })], instances: [home({ ledger: [] })] })).toEqual([]);
  });

  describe('an effect', () => {
    it.each<[string, Partial<History>, string[]]>([
      [
        'is found twice where two processes have worked',
        { calls: [...soundHistory().calls, { agentId: AGENT, at: 1400, process: 'p2' }] },
        ['ran-twice'],
      ],
      [
        'is found twice where an agent that had begun is started again',
        { instances: [home({ register: [registered(1100, 41), registered(1250, 42)] })] },
        ['ran-twice'],
      ],
      [
        'may be tried again before the agent had begun',
        { instances: [home({ register: [registered(1100, 41), registered(1150, 42)] })] },
        [],
      ],
      ['is found where no reaper knew of it', { instances: [home({ register: [] })] }, ['ran-twice']],
      [
        'is found of a spawn that was refused',
        { orders: [spawnOrder({ answer: 'refused' }), spawnOrder({ answer: 'refused' })] },
        ['effect-of-refused'],
      ],
      ['is found of a spawn that has expired', { commands: [spawnRow({ state: 'TIMEOUT' })] }, ['effect-of-refused']],
      [
        'is found that nobody has on record',
        { orders: [spawnOrder({ answer: 'unknown' })], commands: [], receipts: [] },
        ['effect-unrecorded'],
      ],
      ['is missed where work was said to be done', { branches: [] }, ['work']],
      [
        'is found doubled in the repository',
        { branches: [{ agentId: AGENT, commits: 2, processes: ['p1'] }] },
        ['work'],
      ],
      [
        'is found to be of two processes in the repository',
        { branches: [{ agentId: AGENT, commits: 1, processes: ['p1', 'p2'] }] },
        ['work'],
      ],
    ])('%s', (_what, changes, rules) => {
      expect(rulesOf(changes)).toEqual(rules);
    });
  });

  describe('a death', () => {
    const withKill = (...changes: Parameters<typeof killOrder>): Partial<History> => ({
      orders: [spawnOrder(), killOrder(...changes)],
    });

    it('is found false where the agent lived when it was reported', () => {
      expect(rulesOf(withKill({ alive: [41] }))).toEqual(['false-death']);
      expect(rulesOf(withKill({ alive: [41], confirmed: false }))).toEqual([]);
    });

    it('is found false in the answer to a kill of all', () => {
      const line = { instance: 'quay', commandId: null, confirmed: true, alive: [41] };
      expect(rulesOf({ orders: [spawnOrder(), killAllOrder(line)] })).toEqual(['false-death']);
    });

    it('is found late or missing where only a store was away', () => {
      const during = ['freeze postgres', 'kill quay/valkey'];
      expect(rulesOf(withKill({ during, answeredAt: 8000 }))).toEqual(['slow-kill']);
      expect(rulesOf(withKill({ during, answer: 'unknown', confirmed: false }))).toEqual(['slow-kill']);
      expect(rulesOf(withKill({ during: [...during, 'kill hub'], answeredAt: 8000 }))).toEqual([]);
    });

    it('is found late where a clock was wrong, but not where two hubs could not hear of each other', () => {
      const during = ['clock quay/reaper -3600s'];
      expect(rulesOf(withKill({ during, answeredAt: 8000 }))).toEqual(['slow-kill']);
      expect(rulesOf(withKill({ during: ['freeze hub-valkey'], answeredAt: 8000 }))).toEqual(['slow-kill']);
      const between = ['freeze hub-valkey', 'kill postgres'];
      expect(rulesOf(withKill({ during: between, answeredAt: 8000 }))).toEqual([]);
    });
  });

  describe('the register', () => {
    const epoch = (kind: string, scope: string, id = '') => ({ kind, at: 1000, scope: { scope, id } });

    it.each(['mesh', 'instance'])('is found to let an agent through a stopped %s', (scope) => {
      const register = [epoch('epoch', scope), registered(1100, 41)];
      expect(rulesOf({ instances: [home({ register })] })).toEqual(['spawn-after-epoch']);
      const rearmed = [epoch('epoch', scope), epoch('rearmed', scope), registered(1100, 41)];
      expect(rulesOf({ instances: [home({ register: rearmed })] })).toEqual([]);
    });

    it('may register what belongs to another tenant than the one that is stopped', () => {
      const register = [epoch('epoch', 'tenant', 'other'), registered(1100, 41)];
      expect(rulesOf({ instances: [home({ register })] })).toEqual([]);
    });
  });

  it('finds a broken chain, and whatever is left running', () => {
    expect(rulesOf({ chainFault: 'record 3 is missing' })).toEqual(['audit-broken']);
    expect(rulesOf({ instances: [home({ logFault: 'record 3: cut off' })] })).toEqual(['audit-broken']);
    expect(rulesOf({ living: [{ agentId: AGENT, pid: 41 }] })).toEqual(['left-running']);
  });
});
