import { SigningKey } from '@capstan/identity';
import { KillOutcome, KillScope } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/until.js';
import { killAllStatement, killedAll } from '../../test/killed-all.js';
import { TestHub } from '../../test/test-hub.js';
import { type Ordered, type Result, TestSpoke } from '../../test/test-spoke.js';
import type { CommandView } from '../commands/command-view.js';
import type { KillAllLine } from './kill-all-line.js';
import { Stopping } from './stopping.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;
let hub: TestHub;
let harbor: TestSpoke;
let stopping: Stopping;

beforeAll(async () => {
  postgres = await startTestPostgres();
  hub = await TestHub.start(await postgres.freshDatabase());
  stopping = hub.app.get(Stopping, { strict: false });
});
afterAll(async () => {
  await hub[Symbol.asyncDispose]();
  await postgres.stop();
});

let number = 0;
beforeEach(async () => {
  number += 1;
  harbor = await TestSpoke.connected(hub, `harbor-${String(number)}`);
});
afterEach(() => harbor.disconnect());

async function killAll(waitMs: number): Promise<KillAllLine> {
  const order = { scope: 'instance', instance: harbor.instanceId, waitMs };
  const headers = { authorization: `Bearer ${hub.token}`, accept: 'application/json' };
  const { body } = await hub.request<{ instances: KillAllLine[] }>(
    'POST',
    'agents/kill-all',
    JSON.stringify(order),
    headers,
  );
  const [line] = body.instances;
  if (line === undefined) throw new Error('there is no line');
  return line;
}

/** The spoke’s order to kill all, of the given number of them. */
const ordered = (epoch = 1n): Promise<Ordered> =>
  until('it was told', () =>
    harbor.ordered.find(({ command: { body } }) => body.case === 'killAll' && body.value.epoch === epoch),
  );

/** What the reaper of an instance with two agents lets its spoke answer, and the spoke has changed. */
function answer(order: Ordered, agents: readonly string[], statement: Uint8Array): Result {
  const whole = killedAll(harbor, order, agents, KillOutcome.KILLED);
  return { case: 'killedAll', value: { ...whole.value, statement } };
}

const BOTH = ['agent-1', 'agent-2'];
const offered = (order: Ordered, result: Result) => harbor.offer(harbor.receipt(order, result), 'kill');
const settledAt = async (order: Ordered): Promise<string | null> =>
  (await hub.get<CommandView>(`commands/${order.command.header?.id ?? ''}`)).body.settledAt;

it.each<[string, (order: Ordered) => Result]>([
  ['names none where there are two', (order) => answer(order, [], killAllStatement(harbor, order, BOTH))],
  ['leaves one out', (order) => answer(order, ['agent-1'], killAllStatement(harbor, order, BOTH))],
  ['names one twice', (order) => answer(order, ['agent-1', 'agent-1'], killAllStatement(harbor, order, BOTH))],
  [
    'states itself that there are none',
    (order) => answer(order, [], killAllStatement(harbor, order, [], {}, harbor.key)),
  ],
  [
    'has it stated by a stranger',
    (order) => answer(order, [], killAllStatement(harbor, order, [], {}, SigningKey.generate())),
  ],
  ['has only one tenant stopped', (order) => answer(order, [], tenantOnly(order))],
  [
    'has the mesh stopped',
    (order) => answer(order, [], killAllStatement(harbor, order, [], { scope: KillScope.MESH })),
  ],
  ['has another epoch raised', (order) => answer(order, [], killAllStatement(harbor, order, [], { epoch: 7n }))],
  ['has another order stated', (order) => answer(order, [], killAllStatement(harbor, order, [], otherOrder()))],
  [
    'puts a death into its place',
    (order) => answer(order, [], harbor.observation(order, 'agent-1', KillOutcome.KILLED)),
  ],
])('an answer that %s is refused, and the kill-all stays open', (_, lie) =>
  proves('FED-10', async () => {
    const line = killAll(300);
    const order = await ordered();
    expect(await offered(order, lie(order))).toMatchObject({ is: 'rejected', code: 'statement-invalid' });
    expect(await line).toMatchObject({ confirmed: false, leasesEndAt: expect.any(String) as string });
    expect(stopping.has(harbor.instanceId)).toBe(true);
    expect(await settledAt(order)).toBeNull();
    expect(await offered(order, harbor.killedAll(order, BOTH))).toEqual({ is: 'acknowledged' });
    expect(stopping.has(harbor.instanceId)).toBe(false);
  })(),
);

function tenantOnly(order: Ordered): Uint8Array {
  return killAllStatement(harbor, order, [], { scope: KillScope.TENANT, scopeId: 'default' });
}

function otherOrder(): { commandDigest: Uint8Array } {
  return { commandDigest: new Uint8Array(32).fill(5) };
}

it(
  'an answer without its reaper’s statement is kept, and confirms nothing, be it empty or not',
  proves(['FED-10', 'FED-20'], async () => {
    for (const [at, agents] of [[], BOTH].entries()) {
      const epoch = BigInt(at + 1);
      const line = killAll(3_000);
      const order = await ordered(epoch);
      expect(await offered(order, answer(order, agents, new Uint8Array()))).toEqual({ is: 'acknowledged' });
      expect(await line).toMatchObject({ confirmed: false, reason: 'unconfirmed', code: 'statement-missing' });
      expect(stopping.has(harbor.instanceId)).toBe(true);
      expect(await settledAt(order)).toBeNull();
    }
  }),
);

it(
  'an earlier kill-all’s answer is none for a later one',
  proves('FED-10', async () => {
    const first = killAll(5_000);
    const before = await ordered(1n);
    const statement = killAllStatement(harbor, before, []);
    await offered(before, answer(before, [], statement));
    expect(await first).toMatchObject({ confirmed: true, agents: [] });
    const second = killAll(300);
    const now = await ordered(2n);
    expect(await offered(now, answer(now, [], statement))).toMatchObject({ code: 'statement-invalid' });
    expect(await offered(now, harbor.killedAll(before, []))).toMatchObject({ code: 'statement-invalid' });
    expect(await second).toMatchObject({ confirmed: false });
    expect(stopping.has(harbor.instanceId)).toBe(true);
  }),
);

it(
  'a death of an earlier start of the agent is none for a kill-all',
  proves('FED-10', async () => {
    void killAll(0);
    const order = await ordered();
    const observation = harbor.observation(
      { ...order, envelope: { ...order.envelope, payload: new Uint8Array(3) } },
      'agent-1',
      KillOutcome.ALREADY_GONE,
    );
    const agents = [{ agentId: 'agent-1', result: { outcome: KillOutcome.ALREADY_GONE, observation } }];
    const value = { epoch: 1n, agents, statement: killAllStatement(harbor, order, ['agent-1']) };
    expect(await offered(order, { case: 'killedAll', value })).toMatchObject({ code: 'observation-invalid' });
    expect(stopping.has(harbor.instanceId)).toBe(true);
  }),
);
