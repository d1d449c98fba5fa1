import type { Redis } from 'ioredis';
import { closeValkey, connectValkey, parsePolicy } from '@capstan/platform';
import { taskId, tenantId } from '@capstan/protocol';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { streamOf } from '../../../../test/support/model-stream.js';
import { proves } from '../../../../test/support/proves.js';
import { startTestValkey, type TestValkey } from '../../../../test/support/test-valkey.js';
import { until } from '../../../../test/support/until.js';
import { ValkeyRelay } from '../../../../test/support/valkey-relay.js';
import { GatewayRoom, SECRET_KEY } from '../../test/gateway-room.js';
import { rulesOf } from './gateway-order.js';
import { SpendLedger, type SharedLimits } from './spend-ledger.js';

const spender = (task: string, tenant = 'default') => ({ taskId: taskId(task), tenant: tenantId(tenant) });
const HELLO = { model: 'claude-sonnet-5-5', max_tokens: 1000, messages: [{ role: 'user' as const, content: 'Hello' }] };

describe('the owner’s limits', () => {
  it('are those of the policy file', () => {
    const lists = { runtimes: [], repositories: [], tenants: [], sandboxes: [] };
    const numbers = { concurrency: 1, budgetMicroUsd: 1, timeoutMs: 1 };
    const ours = {
      taskBudgetMicroUsd: 2,
      tenantBudgetMicroUsdPerDay: 3,
      unknownModels: { input: 4, output: 5 },
    };
    const rulesIn = (more: object) =>
      rulesOf(parsePolicy(JSON.stringify({ version: 1, spawn: { ...lists, ...numbers, ...more } })));
    expect(rulesIn(ours)).toEqual({ taskMicroUsd: 2, tenantMicroUsdPerDay: 3, unknownModels: { input: 4, output: 5 } });
    expect(rulesIn({})).toEqual({});
    for (const wrong of [
      { taskBudgetMicroUsd: -1 },
      { tenantBudgetMicroUsdPerDay: 'x' },
      { unknownModels: { input: 0 } },
    ])
      expect(() => rulesIn(wrong)).toThrow('cannot be used');
  });
});

describe('what tasks and tenants may spend', () => {
  let valkey: TestValkey;
  let client: Redis;
  beforeAll(async () => {
    valkey = await startTestValkey();
    client = await connectValkey(valkey.url);
  });
  afterAll(async () => {
    await closeValkey(client);
    await valkey.stop();
  });
  beforeEach(() => client.flushall());

  /** Holds, and expects that it may. */
  const hold = async (ledger: SpendLedger, who: ReturnType<typeof spender>, limits: SharedLimits, wanted: number) => {
    const answer = await ledger.hold(who, limits, wanted, 1);
    if (answer.kind !== 'held') throw new Error(`spent: ${answer.scope}`);
    return answer.hold;
  };

  it(
    'is held before it is spent: many at the same moment cannot pass it together',
    proves('ORC-L3', async () => {
      const ledgers = [new SpendLedger(client), new SpendLedger(client)];
      const asked = ledgers.flatMap((ledger) =>
        Array.from({ length: 25 }, () => ledger.hold(spender('one'), { taskMicroUsd: 1000 }, 100, 100)),
      );
      const answers = await Promise.all(asked);
      expect(answers.filter((answer) => answer.kind === 'held')).toHaveLength(10);
      expect(answers.filter((answer) => answer.kind === 'spent' && answer.scope === 'task')).toHaveLength(40);
    }),
  );

  it(
    'is held and settled once where the reply is lost, so that nothing of the limit goes with it',
    proves('ORC-L3', async () => {
      await using relay = await ValkeyRelay.start(valkey.url);
      const relayed = await connectValkey(relay.url);
      await using _client = { [Symbol.asyncDispose]: () => closeValkey(relayed) };
      const ledger = new SpendLedger(relayed);
      const limits = { taskMicroUsd: 1000 };
      relay.loseReply();
      const held = await hold(ledger, spender('one'), limits, 700);
      expect([held.amount, relay.lost]).toEqual([700, 1]);
      relay.loseReply();
      await held.settle(100);
      expect(relay.lost).toBe(2);
      expect(await ledger.spent(spender('one'))).toMatchObject({ task: 100 });
      expect((await hold(ledger, spender('one'), limits, 1000)).amount).toBe(900);
    }),
  );

  it('is given in part where not all is left, down to the least that is of use', async () => {
    const ledger = new SpendLedger(client);
    const first = await hold(ledger, spender('one'), { taskMicroUsd: 1000 }, 700);
    expect((await hold(ledger, spender('one'), { taskMicroUsd: 1000 }, 700)).amount).toBe(300);
    expect(await ledger.hold(spender('one'), { taskMicroUsd: 1000 }, 700, 1)).toEqual({ kind: 'spent', scope: 'task' });
    await first.settle(50);
    expect(await ledger.hold(spender('one'), { taskMicroUsd: 1000 }, 700, 651)).toMatchObject({ kind: 'spent' });
    expect((await hold(ledger, spender('one'), { taskMicroUsd: 1000 }, 700)).amount).toBe(650);
  });

  it('is of one tenant on one day, over all of its tasks, and of no other', async () => {
    let now = Date.parse('2026-11-21T23:59:59Z');
    const ledger = new SpendLedger(client, () => now);
    const limits = { tenantMicroUsdPerDay: 1000 };
    await (await hold(ledger, spender('one'), limits, 600)).settle(600);
    expect((await hold(ledger, spender('two'), limits, 600)).amount).toBe(400);
    expect(await ledger.hold(spender('three'), limits, 600, 1)).toEqual({ kind: 'spent', scope: 'tenant' });
    expect((await hold(ledger, spender('three', 'other'), limits, 600)).amount).toBe(600);
    now += 2000;
    expect((await hold(ledger, spender('three'), limits, 600)).amount).toBe(600);
  });

  it('is settled once', async () => {
    const ledger = new SpendLedger(client);
    const held = await hold(ledger, spender('one'), {}, 100);
    await held.settle(10);
    await held.settle(10);
    expect(await ledger.spent(spender('one'))).toEqual({ task: 10, tenantToday: 10 });
    expect((await hold(ledger, spender('one'), { taskMicroUsd: 100 }, 100)).amount).toBe(90);
  });

  it(
    'is not forgotten by a crash of Valkey or of the orchestrator; what was under way counts in full',
    proves('ORC-L3', async () => {
      const ledger = new SpendLedger(client);
      await (await hold(ledger, spender('one'), {}, 100)).settle(10);
      await hold(ledger, spender('one'), {}, 200);
      await valkey.crash();
      await valkey.restart();
      const next = new SpendLedger(client);
      expect(await next.settleLeft()).toBe(1);
      expect(await next.settleLeft()).toBe(0);
      expect(await next.spent(spender('one'))).toEqual({ task: 210, tenantToday: 210 });
    }),
  );

  describe('at the gateway', () => {
    const reply = { input: 100, output: 1000 };
    const COST = 100 * 2 + 1000 * 10;
    const openTo = (upstream: Upstream, limits: SharedLimits, name: string) =>
      GatewayRoom.open(
        { name: 'anthropic', apiKey: SECRET_KEY, url: upstream.url },
        { taskId: taskId(name) },
        { ledger: new SpendLedger(client), rules: () => Promise.resolve(limits) },
      );
    const ask = (room: GatewayRoom): Promise<unknown> => room.client.messages.stream(HELLO).finalMessage();

    it.each(['task', 'tenant'] as const)('stops an agent by the budget of its %s, which others have spent', (scope) =>
      proves('ORC-L3', async () => {
        await using upstream = await Upstream.start((response) =>
          streamOf(response, [{ type: 'text', text: 'Good day' }], reply),
        );
        const limits = scope === 'task' ? { taskMicroUsd: 12_000 } : { tenantMicroUsdPerDay: 12_000 };
        const other = scope === 'task' ? 'one' : 'two';
        await using first = await openTo(upstream, limits, 'one');
        await using second = await openTo(upstream, limits, other);
        await ask(first);
        await until(
          'it is written down',
          async () => (await new SpendLedger(client).spent(spender('one'))).task === COST,
        );
        await expect(ask(second)).rejects.toMatchObject({
          status: 402,
          message: expect.stringContaining(`${scope}-budget: the ${scope}'s budget`),
        });
        expect(second.told.budgetAlarms).toEqual([`${scope}-budget`]);
        expect(second.session.usage()).toMatchObject({ requests: 0, costMicroUsd: 0 });
        expect(upstream.requests).toHaveLength(1);
      })(),
    );

    it('cuts the reply to what is left of a shared budget', async () => {
      await using upstream = await Upstream.start((response) =>
        streamOf(response, [{ type: 'text', text: 'Good day' }], { input: 10, output: 10 }),
      );
      await using room = await openTo(upstream, { taskMicroUsd: 6_000 }, 'one');
      await ask(room);
      const limit = Number(upstream.requests[0]?.body['max_tokens']);
      expect(limit).toBeGreaterThan(500);
      expect(limit).toBeLessThan(600);
    });

    it('spends nothing that cannot be written down', async () => {
      await using upstream = await Upstream.start((response) =>
        streamOf(response, [{ type: 'text', text: 'Good day' }], reply),
      );
      await using room = await openTo(upstream, {}, 'one');
      valkey.freeze();
      try {
        await expect(ask(room)).rejects.toMatchObject({ status: 502 });
        expect(upstream.requests).toEqual([]);
      } finally {
        valkey.thaw();
      }
      await ask(room);
    });

    it('counts a model without a price by the ceiling that the owner has set, and refuses it without', async () => {
      await using upstream = await Upstream.start((response) =>
        streamOf(response, [{ type: 'text', text: 'Good day' }], reply),
      );
      const rules: { unknownModels?: { input: number; output: number } } = {};
      await using room = await GatewayRoom.open(
        { name: 'anthropic', apiKey: SECRET_KEY, url: upstream.url },
        { model: 'claude-sonnet-9' },
        { rules: () => Promise.resolve(rules) },
      );
      const unknown = { ...HELLO, model: 'default' };
      await expect(room.client.messages.create(unknown)).rejects.toMatchObject({ status: 404 });
      rules.unknownModels = { input: 20, output: 100 };
      await room.client.messages.stream(unknown).finalMessage();
      expect(room.session.usage().costMicroUsd).toBe(100 * 20 + 1000 * 100);
      await expect(room.client.messages.create({ ...HELLO, model: 'No Model' })).rejects.toMatchObject({ status: 404 });
    });
  });
});
