import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openEnvelope } from '@capstan/identity';
import { ReaperClient } from '@capstan/platform';
import { Direction, EventSchema, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { ownerApi } from '../../test/owner-api.js';
import { until } from '../../test/processes.js';
import { registeredProcess } from '../../test/registered-process.js';
import { POLICY, TestInstance } from '../../test/test-instance.js';

jest.setTimeout(60_000);

let instance: TestInstance;
beforeEach(async () => {
  instance = await TestInstance.start();
});
afterEach(async () => {
  await instance?.[Symbol.asyncDispose]();
});

const call = (method: 'GET' | 'POST', path: string, body?: object, token?: string) =>
  ownerApi(instance.dir, method, path, body, token);
const auditText = () => readFile(join(instance.dir, 'audit', 'spoke.log'), 'utf8');

test('the owner’s door is his alone: a socket and a token of mode 0600, and only health is open', async () => {
  for (const file of ['run/spoke.sock', 'tokens/spoke.token'])
    expect((await stat(join(instance.dir, file))).mode & 0o777).toBe(0o600);
  expect(await call('GET', '/health', undefined, '')).toMatchObject({ status: 200, body: { status: 'healthy' } });
  for (const [method, path] of [
    ['GET', '/connection'],
    ['GET', '/metrics'],
    ['POST', '/connection/suspend'],
    ['POST', '/connection/resume'],
    ['POST', '/connection/disconnect'],
  ] as const) {
    for (const token of ['', 'x'.repeat(43)]) expect((await call(method, path, undefined, token)).status).toBe(401);
  }
  expect((await call('GET', '/metrics')).text).toContain('capstan_refusals_total');
  expect(await call('POST', '/connection/suspend', { surprise: 1 })).toMatchObject({ status: 400 });
  expect(instance.hub.wishes).toEqual([]);
});

test(
  'the owner suspends: the hub is told by a signed event, and nothing but kills and probes is taken, also after a crash',
  proves('FED-03', async () => {
    const { hub } = instance;
    expect(await call('POST', '/connection/suspend', { reason: 'holidays' })).toMatchObject({
      status: 200,
      body: { wish: 'SUSPENDED', answer: { is: 'taken' }, online: true },
    });
    const [wish] = hub.wishes;
    if (wish === undefined) throw new Error('no wish');
    expect(wish).toMatchObject({ state: 'SUSPENDED', reason: 'holidays' });
    const { header } = openEnvelope(wish.envelope, EventSchema, {
      kind: 'event',
      purpose: 'receipt',
      keys: instance.keys,
      audience: 'hub',
      direction: Direction.SPOKE_TO_HUB,
      nowMs: Date.now(),
    });
    expect(header.issuer).toBe('harbor');
    expect(await auditText()).toContain('connection.wished');

    for (const isAfterCrash of [false, true]) {
      if (isAfterCrash) await instance.crashSpoke();
      const digest = await hub.send(instance.spawn());
      const rejection = await until(() => hub.rejected.find((each) => each.digest === digest));
      expect(rejection).toMatchObject({ code: 'connection-not-active', retryable: true });
      const question = await hub.send(hub.query('agent-x'));
      expect(await until(() => hub.rejected.find((each) => each.digest === question))).toMatchObject({
        code: 'connection-not-active',
      });
      const kill = hub.command({ case: 'kill', value: { agentId: `agent-${newId()}`, reason: '' } });
      await hub.send(kill, 'kill');
      await instance.receipt(kill, 'killed');
    }
    expect(instance.orchestrator.offered).toEqual([]);

    expect((await call('POST', '/connection/resume')).body).toMatchObject({ wish: 'ACTIVE', answer: { is: 'taken' } });
    const spawn = instance.spawn();
    await hub.send(spawn);
    await instance.receipt(spawn, 'spawned');
    expect(hub.wishes.at(-1)?.state).toBe('ACTIVE');
  }),
);

test(
  'wishes are later than each other whatever the clock says, and one that was not answered is said again',
  proves('FED-03', async () => {
    const { hub } = instance;
    // Without a link the hub would be told by HTTP.
    await until(async () => (await call('GET', '/connection')).body['online'] === true);
    hub.acknowledges = false;
    expect((await call('POST', '/connection/suspend')).body).toMatchObject({ answer: { is: 'waiting' } });
    hub.acknowledges = true;
    const before = hub.wishes.length;
    await instance.crashSpoke();
    await until(() => hub.wishes.length > before);
    await until(async () => (await call('GET', '/connection')).body['answer'] !== undefined);
    const file = join(instance.dir, 'connection-wish.json');
    const ahead = { ...(JSON.parse(await readFile(file, 'utf8')) as object), atMs: Date.now() + 86_400_000 };
    await instance.spoke.stop();
    await writeFile(file, JSON.stringify(ahead), { mode: 0o600 });
    await instance.spoke.start();
    await call('POST', '/connection/resume');
    const { atMs } = JSON.parse(await readFile(file, 'utf8')) as { atMs: number };
    expect(atMs).toBe(ahead.atMs + 1);
  }),
);

test(
  'after the owner has left, the spoke takes nothing, and stops to dial once the hub has understood',
  proves('FED-03', async () => {
    const { hub } = instance;
    const link = await hub.link();
    hub.acknowledges = false;
    const answer = call('POST', '/connection/disconnect');
    await until(() => hub.wishes.at(-1)?.state === 'DISCONNECTED');
    await link.close('connection-not-active', 'It was disconnected.');
    expect((await answer).body).toMatchObject({ wish: 'DISCONNECTED', answer: { is: 'taken' } });
    await until(async () => (await call('GET', '/connection')).body['online'] === false);
    expect(await call('POST', '/connection/resume')).toMatchObject({
      status: 409,
      body: { code: 'connection-transition' },
    });
  }),
);

test(
  'an owner who was not approved yet withdraws: the hub is told by HTTP, and dialled no more',
  proves('FED-03', async () => {
    const { hub, dir } = instance;
    await instance.spoke.stop();
    hub.isApproved = false;
    await instance.spoke.start();
    expect((await call('POST', '/connection/disconnect')).body).toMatchObject({
      answer: { is: 'taken' },
      online: false,
    });
    const { envelope } = JSON.parse(await readFile(join(dir, 'connection-wish.json'), 'utf8')) as { envelope: string };
    await until(() => hub.posted.includes(envelope));
  }),
);

test(
  'a hub that goes back behind a revocation epoch is refused, in Welcome and heartbeat, also after a crash',
  proves('FED-12', async () => {
    const { hub } = instance;
    hub.revocationEpoch = 3n;
    await (await hub.link()).close('closed', 'a test');
    await until(() => hub.links.length > 1);
    const file = join(instance.dir, 'revocation-epoch');
    await until(async () => (await readFile(file, 'utf8').catch(() => '')) === '3\n');
    expect((await call('GET', '/connection')).body['revocationEpoch']).toBe('3');
    hub.revocationEpoch = 2n;
    // By the next heartbeat on the open link …
    const open = await hub.link();
    expect((await open.closed).code).toBe('epoch-older');
    // … and by each Welcome from now on.
    for (const isAfterCrash of [false, true]) {
      const links = hub.links.length;
      if (isAfterCrash) await instance.crashSpoke();
      await until(() => hub.links.length > links);
      expect((await (await hub.link(links)).closed).code).toBe('epoch-older');
    }
    hub.revocationEpoch = 3n;
    const links = hub.links.length;
    const spawn = instance.spawn();
    await until(() => hub.links.length > links);
    await hub.send(spawn);
    await instance.receipt(spawn, 'spawned');
  }),
);

test(
  'a hub that leaps ahead with its revocation epoch is refused, and the mended one behind it is not',
  proves('FED-12', async () => {
    const { hub } = instance;
    const known = hub.revocationEpoch;
    const links = hub.links.length;
    hub.revocationEpoch = 2n ** 64n - 1n;
    const open = await hub.link();
    expect((await open.closed).code).toBe('epoch-jump');
    await until(() => hub.links.length > links);
    expect((await (await hub.link(links)).closed).code).toBe('epoch-jump');
    hub.revocationEpoch = known + 1_000n;
    const refused = hub.links.length;
    const spawn = instance.spawn();
    await until(() => hub.links.length > refused);
    await hub.send(spawn);
    await instance.receipt(spawn, 'spawned');
    const file = join(instance.dir, 'revocation-epoch');
    await until(async () => (await readFile(file, 'utf8')) === `${String(known + 1_000n)}\n`);
    // The owner's way back from whatever it was walked up to.
    await instance.spoke.stop();
    await rm(file);
    hub.revocationEpoch = known;
    await instance.spoke.start();
    await until(async () => (await readFile(file, 'utf8').catch(() => '')) === `${String(known)}\n`);
  }),
);

test(
  'a revoked instance kills its agents by the reaper beside it, audited, and once only',
  proves('FED-12', async () => {
    const { hub, dir } = instance;
    const agents = ['agent-one', 'agent-two'];
    const processes = await Promise.all(agents.map((agentId) => registeredProcess(dir, agentId)));
    hub.revokedAt = Date.now();
    const link = await hub.link();
    const orderedAt = performance.now();
    await link.close('key-revoked', 'It was revoked.');
    await Promise.all(processes.map(({ exited }) => exited));
    expect(performance.now() - orderedAt).toBeLessThan(4_000);
    await until(() => agents.every((agentId) => instance.orchestrator.noticed.includes(agentId)));
    await until(() => instance.orchestrator.noticedKillAlls > 0);
    await until(async () => (await readFile(join(dir, 'revoked'), 'utf8').catch(() => '')) !== '');
    const audit = await auditText();
    for (const part of ['instance.revoked', 'instance.revoked-kill', ...agents]) expect(audit).toContain(part);

    // What the owner starts afterwards is his own, however often the hub repeats itself.
    const reaper = new ReaperClient(join(dir, 'run', 'reaper.sock'));
    await reaper.rearm({ scope: 'instance' });
    const epochs = (await reaper.describe()).killEpochs;
    const refusals = hub.refused.length;
    await until(() => hub.refused.length > refusals + 1);
    expect((await reaper.describe()).killEpochs).toEqual(epochs);
    reaper.close();
  }),
);

test(
  'a spoke that was away when it was revoked hears so when it dials, and kills then; or keeps, where its owner says so',
  proves('FED-12', async () => {
    const { hub, dir } = instance;
    await instance.spoke.stop();
    const { exited } = await registeredProcess(dir, 'agent-one');
    hub.revokedAt = Date.now();
    await writeFile(join(dir, 'policy.yaml'), `${POLICY}onRevoked: keep\n`);
    await instance.spoke.start();
    await until(async () => (await auditText()).includes('"onRevoked":"keep"'));
    const reaper = new ReaperClient(join(dir, 'run', 'reaper.sock'));
    expect((await reaper.describe()).agents).toMatchObject([{ agentId: 'agent-one' }]);
    expect((await reaper.describe()).disarmed).toEqual([]);
    reaper.close();
    await instance.spoke.stop();
    await rm(join(dir, 'revoked'), { force: true });
    await writeFile(join(dir, 'policy.yaml'), POLICY);
    await instance.spoke.start();
    await exited;
  }),
);
