import { create, KillEpochSchema, KillOutcome, KillScope } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/until.js';
import { TestHub } from '../../test/test-hub.js';
import { type Ordered, readInvite, TestSpoke } from '../../test/test-spoke.js';
import { DatabaseService } from '../database/database.service.js';
import { killEpochs } from '../database/schema.js';
import { KillEpochs } from './kill-epochs.js';
import type { KillAllLine, KillAllTotals } from './kill-all-line.js';
import type { RearmLine } from './rearming.js';
import { Stopping } from './stopping.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

type Line = KillAllLine & { totals?: undefined };

let postgres: TestPostgres;
let hub: TestHub;
let harbor: TestSpoke;
let quay: TestSpoke;
let wharf: TestSpoke;
let alice: string;
let bob: string;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

beforeEach(async () => {
  hub = await TestHub.start(await postgres.freshDatabase());
  [harbor, quay, wharf] = await Promise.all([
    TestSpoke.connected(hub, 'harbor'),
    TestSpoke.connected(hub, 'quay'),
    TestSpoke.connected(hub, 'wharf'),
  ]);
  const tokenOf = async (name: string): Promise<string> =>
    (await hub.post<{ token: string }>('/api/v1/auth/tokens', { name })).body.token;
  [alice, bob] = [await tokenOf('alice'), await tokenOf('bob')];
});
afterEach(async () => {
  for (const spoke of [harbor, quay, wharf]) await spoke.disconnect();
  await hub[Symbol.asyncDispose]();
});

const asked = (token: string) => ({ authorization: `Bearer ${token}`, accept: 'application/json' });
const killAll = async (body: object, token = hub.token) => {
  const text = JSON.stringify({ waitMs: 3000, ...body });
  return hub.request<{ instances: Line[]; totals: KillAllTotals; code?: string }>(
    'POST',
    'agents/kill-all',
    text,
    asked(token),
  );
};
const rearm = (body: object, token: string) =>
  hub.request<{ instances: RearmLine[]; code?: string }>(
    'POST',
    'agents/rearm',
    JSON.stringify({ waitMs: 3000, ...body }),
    asked(token),
  );
const spawn = (instance: string) =>
  hub.post<{ code?: string; commandId: string }>('agents/spawn', {
    instance,
    agentType: 'worker',
    context: { repository: '/srv/repository', workItems: ['Map it.'] },
  });

function body(order: Ordered) {
  return order.command.body;
}
function epochOf(order: Ordered): bigint {
  const it = body(order);
  return it.case === 'killAll' || it.case === 'rearm' ? it.value.epoch : -1n;
}

/** Answers kill-alls with a proof and re-armings with a word, as a sound instance does. */
function obey(spoke: TestSpoke, agentIds: string[] = []): void {
  spoke.onOrder = (order) => {
    const it = body(order);
    if (it.case === 'killAll') void spoke.offer(spoke.receipt(order, spoke.killedAll(order, agentIds)), 'kill');
    if (it.case === 'rearm') {
      const value = { epoch: it.value.epoch };
      void spoke.offer(spoke.receipt(order, { case: 'rearmed', value }));
    }
  };
}

const lineOf = (lines: Line[], instance: string): Line | undefined => lines.find((line) => line.instance === instance);

it(
  'tells every instance at once, and confirms by what each reaper has signed; the one that is away has its own line',
  proves('FED-10', async () => {
    obey(harbor, ['agent-1', 'agent-2']);
    obey(quay);
    await wharf.disconnect();
    const { status, body: answer } = await killAll({ scope: 'mesh', reason: 'enough' });
    expect(status).toBe(200);
    expect(lineOf(answer.instances, 'harbor')).toMatchObject({
      confirmed: true,
      epoch: '1',
      agents: [
        { agentId: 'agent-1', outcome: 'killed' },
        { agentId: 'agent-2', outcome: 'killed' },
      ],
      receipt: { kind: 'killed-all', verified: true },
    });
    expect(lineOf(answer.instances, 'quay')).toMatchObject({ confirmed: true, agents: [] });
    expect(lineOf(answer.instances, 'wharf')).toMatchObject({
      confirmed: false,
      reason: 'away',
      leasesEndAt: expect.any(String) as string,
    });
    expect(answer.totals).toMatchObject({ instances: 3, confirmed: 2, unconfirmed: 1, agents: { killed: 2 } });
    const [order] = harbor.ordered;
    expect(order?.lane).toBe('kill');
    expect(order?.command.body).toMatchObject({
      case: 'killAll',
      value: { scope: KillScope.MESH, scopeId: '', epoch: 1n, reason: 'enough' },
    });
    expect(order?.command.header?.onBehalfOf).toBe('admin');
  }),
);

it('streams a line as each instance answers, and the totals last', async () => {
  obey(harbor);
  obey(wharf);
  let answerLate: () => void = () => undefined;
  quay.onOrder = (order) => {
    answerLate = () => void quay.offer(quay.receipt(order, quay.killedAll(order, [])), 'kill');
  };
  const response = await fetch(`${hub.url}/api/v1/federation/agents/kill-all`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ scope: 'mesh', waitMs: 20_000 }),
  });
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  const decoder = new TextDecoder();
  let text = '';
  const lines = (): Record<string, unknown>[] =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (lines().length === 2) answerLate();
  }
  const instances = lines().map(({ instance }) => instance);
  expect(instances.slice(0, 2).sort()).toEqual(['harbor', 'wharf']);
  expect(instances.slice(2)).toEqual(['quay', undefined]);
  expect(lines().at(-1)).toMatchObject({ totals: { confirmed: 3, unconfirmed: 0 } });
});

it(
  'believes no forged death: a lying spoke is unconfirmed, whatever it signs',
  proves('FED-10', async () => {
    obey(harbor);
    quay.onOrder = (order) => {
      // Signed with the identity key instead of the reaper's: the spoke was broken into, the reaper was not.
      const observation = quay.observation(order, 'agent-1', KillOutcome.KILLED, quay.key);
      const agents = [{ agentId: 'agent-1', result: { outcome: KillOutcome.KILLED, observation } }];
      void quay.offer(quay.receipt(order, { case: 'killedAll', value: { epoch: 1n, agents } }), 'kill');
    };
    wharf.onOrder = (order) => {
      void wharf.offer(wharf.receipt(order, wharf.killedAll(order, ['agent-2'], KillOutcome.UNCONFIRMED)), 'kill');
    };
    const { body: answer } = await killAll({ scope: 'mesh', waitMs: 1000 });
    expect(lineOf(answer.instances, 'harbor')).toMatchObject({ confirmed: true });
    expect(lineOf(answer.instances, 'quay')).toMatchObject({ confirmed: false, reason: 'unanswered', agents: [] });
    expect(lineOf(answer.instances, 'wharf')).toMatchObject({
      confirmed: false,
      reason: 'unconfirmed',
      agents: [{ agentId: 'agent-2', outcome: 'unconfirmed' }],
    });
  }),
);

it(
  'is the first thing that an instance hears on its return, before any other command; what waited to start is withdrawn',
  proves('FED-10', async () => {
    for (const spoke of [harbor, quay]) obey(spoke);
    await wharf.disconnect();
    await until('wharf is away', async () => {
      const { body: all } = await hub.get<{ instanceId: string; online: boolean }[]>('connections');
      return all.find(({ instanceId }) => instanceId === 'wharf')?.online === false;
    });
    const waiting = (await spawn('wharf')).body.commandId;
    const status = await hub.post<{ commandId: string }>('agents/agent-9/kill', { instance: 'wharf', waitMs: 0 });
    expect(status.status).toBe(202);
    await killAll({ scope: 'mesh' });
    const withdrawn = await hub.get<{ state: string; refusal: { code: string } }>(`commands/${waiting}`);
    expect(withdrawn.body).toMatchObject({ state: 'TIMEOUT', refusal: { code: 'disarmed' } });
    obey(wharf);
    await wharf.connect();
    await until('wharf was told', () => wharf.ordered.find((order) => body(order).case === 'killAll'));
    expect(wharf.ordered.map((order) => body(order).case)).not.toContain('spawn');
    expect(wharf.ordered.every(({ lane }) => lane === 'kill')).toBe(true);
  }),
);

it(
  'lets nothing be spawned in a scope until another admin has re-armed it',
  proves('FED-10', async () => {
    for (const spoke of [harbor, quay, wharf]) obey(spoke);
    await killAll({ scope: 'instance', instance: 'harbor' }, bob);
    expect(quay.ordered).toEqual([]);
    expect(await spawn('harbor')).toMatchObject({ status: 409, body: { code: 'disarmed' } });
    expect((await spawn('quay')).status).toBe(202);
    const own = await rearm({ scope: 'instance', instance: 'harbor' }, bob);
    expect(own).toMatchObject({ status: 403, body: { code: 'rearm-same-person' } });
    const { body: answer } = await rearm({ scope: 'instance', instance: 'harbor' }, alice);
    expect(answer.instances).toMatchObject([{ instance: 'harbor', rearmed: true }]);
    expect(harbor.ordered.map((order) => [body(order).case, epochOf(order)])).toEqual([
      ['killAll', 1n],
      ['rearm', 1n],
    ]);
    expect((await spawn('harbor')).status).toBe(202);
    expect((await rearm({ scope: 'instance', instance: 'harbor' }, alice)).status).toBe(404);
  }),
);

it('stops one tenant everywhere and leaves the others alone', async () => {
  for (const spoke of [harbor, quay, wharf]) obey(spoke);
  const { body: answer } = await killAll({ scope: 'tenant', tenant: 'default' });
  expect(answer.totals).toMatchObject({ instances: 3, confirmed: 3 });
  expect(harbor.ordered[0]?.command.body).toMatchObject({
    value: { scope: KillScope.TENANT, scopeId: 'default', epoch: 1n },
  });
  expect((await spawn('quay')).body.code).toBe('disarmed');
});

it('keeps an instance disarmed whose reaper has not said that it is re-armed', async () => {
  for (const spoke of [harbor, quay]) obey(spoke);
  wharf.onOrder = (order) => {
    if (body(order).case === 'killAll') void wharf.offer(wharf.receipt(order, wharf.killedAll(order, [])), 'kill');
    else void wharf.offer(wharf.receipt(order, { case: 'refused', value: { code: 'disarmed' } }));
  };
  await killAll({ scope: 'mesh' }, bob);
  const { body: answer } = await rearm({ scope: 'mesh' }, alice);
  expect(answer.instances.find(({ instance }) => instance === 'wharf')).toMatchObject({
    rearmed: false,
    code: 'disarmed',
  });
  expect((await spawn('harbor')).status).toBe(202);
  expect((await spawn('wharf')).body.code).toBe('disarmed');
});

it('goes on counting over a restart, stays disarmed, and stops who joins later', async () => {
  for (const spoke of [harbor, quay, wharf]) obey(spoke);
  await killAll({ scope: 'mesh' });
  for (const spoke of [harbor, quay, wharf]) await spoke.disconnect();
  await hub.stop();
  hub = await hub.successor();
  expect((await spawn('harbor')).body.code).toBe('disarmed');
  const pier = new TestSpoke(hub, 'pier');
  const { body: made } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
  await pier.redeem(readInvite(made.invite));
  await pier.connect();
  await until('pier was told', () => pier.ordered.find((order) => body(order).case === 'killAll'));
  expect((await spawn('pier')).body.code).toBe('disarmed');
  await pier.disconnect();
  const again = await killAll({ scope: 'mesh', waitMs: 0 });
  expect(again.body.totals.instances).toBe(4);
  expect(again.body.instances.every(({ confirmed }) => !confirmed)).toBe(true);
});

it(
  'learns the true number from the next heartbeat where the reaper has refused its own, and orders again',
  proves('FED-10', async () => {
    let reaperEpoch = 4n;
    harbor.killEpochs = [create(KillEpochSchema, { scope: 'instance', scopeId: '', epoch: reaperEpoch })];
    harbor.onOrder = (order) => {
      if (epochOf(order) === reaperEpoch + 1n) {
        reaperEpoch += 1n;
        void harbor.offer(harbor.receipt(order, harbor.killedAll(order, [])), 'kill');
      } else void harbor.offer(harbor.receipt(order, { case: 'refused', value: { code: 'kill-epoch' } }), 'kill');
    };
    const { body: answer } = await killAll({ scope: 'instance', instance: 'harbor', waitMs: 20_000 });
    expect(answer.instances).toMatchObject([{ confirmed: true, epoch: '5' }]);
  }),
);

it(
  'kills while the database is away, and is written down when that is back',
  proves('FED-10', async () => {
    for (const spoke of [harbor, quay, wharf]) obey(spoke, ['agent-1']);
    await postgres.crash();
    try {
      const { status, body: answer } = await killAll({ scope: 'mesh' });
      expect(status).toBe(200);
      expect(answer.totals).toMatchObject({ confirmed: 3, agents: { killed: 3 } });
      expect((await spawn('harbor')).body.code).toBe('disarmed');
    } finally {
      await postgres.restart();
    }
    const { db } = hub.app.get(DatabaseService, { strict: false });
    const rows = await until('it is on disk', async () => {
      const found = await db
        .select()
        .from(killEpochs)
        .catch(() => []);
      return found.length === 4 ? found : undefined;
    });
    expect(rows.every(({ armed, epoch, orderedBy }) => !armed && epoch === 1n && orderedBy === 'admin')).toBe(true);
  }),
);

it('keeps the last order on disk also where the clock was set back since the one before, and its number is lower', async () => {
  const mesh = { instance: '', scope: 'mesh', scopeId: '', orderedBy: 'admin', connection: '' } as const;
  const anHourAhead = new Date(Date.now() + 3_600_000);
  const epochs = hub.app.get(KillEpochs, { strict: false });
  await epochs.set([{ ...mesh, epoch: 9n, armed: true, changedAt: anHourAhead }], []);
  await epochs.set([{ ...mesh, epoch: 1n, armed: false, changedAt: new Date() }], []);
  const { db } = hub.app.get(DatabaseService, { strict: false });
  await until('the mesh is disarmed on disk', async () => {
    const rows = await db.select().from(killEpochs);
    return rows.find(({ instance, armed }) => instance === '' && !armed);
  });
});

it('renews no lease of an instance that has not proven that it obeys', async () => {
  const stopping = hub.app.get(Stopping, { strict: false });
  obey(harbor);
  await killAll({ scope: 'mesh', waitMs: 300 });
  expect(['harbor', 'quay', 'wharf'].map((instance) => stopping.has(instance))).toEqual([false, true, true]);
  const order = quay.ordered.find((each) => body(each).case === 'killAll');
  if (order === undefined) throw new Error('quay was not told');
  await quay.offer(quay.receipt(order, quay.killedAll(order, [])), 'kill');
  expect(stopping.has('quay')).toBe(false);
});

it.each<[string, object]>([
  ['no scope', {}],
  ['an unknown scope', { scope: 'all' }],
  ['no instance', { scope: 'instance' }],
  ['no tenant', { scope: 'tenant' }],
  ['more than the scope', { scope: 'mesh', instance: 'harbor' }],
  ['both', { scope: 'tenant', tenant: 'default', instance: 'harbor' }],
])('refuses a kill-all with %s, and stops nothing', async (_, wrong) => {
  expect(await killAll(wrong)).toMatchObject({ status: 400, body: { code: 'validation' } });
  expect((await spawn('harbor')).status).toBe(202);
});

it('knows no such instance', async () => {
  expect(await killAll({ scope: 'instance', instance: 'nowhere' })).toMatchObject({
    status: 404,
    body: { code: 'instance-unknown' },
  });
});
