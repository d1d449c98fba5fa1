import { SigningKey } from '@capstan/identity';
import { newId, toBase64, toHex } from '@capstan/protocol';
import { ApiDocument } from '../../../test/support/api-document.js';
import { startTestPostgres, type TestPostgres } from '../../../test/support/postgres.js';
import { TestHub } from '../test/test-hub.js';
import { readInvite, TestSpoke } from '../test/test-spoke.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

const document = new ApiDocument('hub');
const FEDERATION = '/api/v1/federation';
const TOKENS = '/api/v1/auth/tokens';
const AUDIT = '/api/v1/audit';

let postgres: TestPostgres;
let hub: TestHub;
beforeAll(async () => {
  postgres = await startTestPostgres();
  hub = await TestHub.start(await postgres.freshDatabase());
});
afterAll(async () => {
  await hub[Symbol.asyncDispose]();
  await postgres.stop();
});

interface Asked {
  body?: object;
  /** In the place of what stands in braces. */
  id?: string;
  query?: string;
  token?: string;
}

/** Asks, and holds status and answer against the document. */
async function check<T>(
  wanted: number,
  method: string,
  path: string,
  { body, id = '', query = '', token = hub.token }: Asked = {},
): Promise<T> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = { authorization: `Bearer ${token}`, accept: 'application/json' };
  const reply = await hub.request<T>(method, `${path.replace(/\{\w+\}/, id)}${query}`, text, headers);
  const { status, body: answered } = reply;
  expect({ method, path, status }).toEqual({ method, path, status: wanted });
  if (status === 204) return answered;
  const faults = document.faultsOf(method, path, {
    status,
    type: reply.headers.get('content-type') ?? '',
    body: answered,
  });
  expect({ method, path, status, faults }).toEqual({ method, path, status, faults: [] });
  return answered;
}

/** Routes of the running hub, as `GET /health`. */
function routesOf({ app }: TestHub): string[] {
  interface Layer {
    route?: { path: string; methods: Record<string, boolean> };
  }
  const { router } = app.getHttpAdapter().getInstance() as { router: { stack: Layer[] } };
  return router.stack
    .flatMap(({ route }) => (route === undefined ? [] : [route]))
    .filter(({ path }) => !path.startsWith('/docs'))
    .flatMap(({ path, methods }) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`));
}

const spawn = (instance: string, over: object = {}): object => ({
  instance,
  agentType: 'worker',
  context: { repository: '/srv/repository', workItems: ['Map it.'] },
  ...over,
});

describe('the OpenAPI document of the hub', () => {
  it('has every route of the running application, and no other', () => {
    const words = document.routes.map(({ method, path }) => `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`);
    expect(words.sort()).toEqual(routesOf(hub).sort());
    expect(words.length).toBeGreaterThan(40);
  });

  it('says which routes ask for a token', async () => {
    for (const { method, path, isOpen } of document.routes) {
      const { status } = await hub.request(method, path.replace(/\{\w+\}/g, 'a'), undefined, {
        authorization: 'Bearer wrong',
      });
      expect({ method, path, isOpen: status !== 401 }).toEqual({ method, path, isOpen });
    }
  });

  it('takes what the routes take, and no more', async () => {
    const path = `${FEDERATION}/agents/spawn`;
    const bodies: [boolean, object][] = [
      [true, spawn('nobody')],
      [false, spawn('No Id')],
      [false, spawn('nobody', { agentId: 'No Id' })],
      [false, spawn('nobody', { tenant: 'No Id' })],
      [false, spawn('nobody', { expiresInMs: 1_000.5 })],
      [false, spawn('nobody', { options: { priority: 1.5 } })],
      [false, spawn('nobody', { context: { repository: '/srv/repository', workItems: ['\0'] } })],
    ];
    for (const [isTaken, body] of bodies) {
      expect({ body, isTaken: document.takes('POST', path, body) }).toEqual({ body, isTaken });
      await check(isTaken ? 404 : 400, 'POST', path, { body });
    }
  });

  it('describes what is answered, and refused, where there is no instance', async () => {
    for (const path of [
      '/health',
      '/health/ready',
      TOKENS,
      AUDIT,
      `${AUDIT}/head`,
      ...['instance', 'agents', 'connections', 'operators', 'key-statements'].map((room) => `${FEDERATION}/${room}`),
    ])
      await check(200, 'GET', path);

    const agent = `${FEDERATION}/agents/{agentId}`;
    for (const path of [agent, `${agent}/status`, `${agent}/logs`, `${agent}/logs/stream`]) {
      await check(404, 'GET', path, { id: newId() });
      await check(400, 'GET', path, { id: 'No%20Id' });
    }
    await check(404, 'POST', `${agent}/kill`, { id: newId(), body: {} });

    const connection = `${FEDERATION}/connections/{id}`;
    for (const room of ['enrollment', 'catalog', 'agents'])
      await check(404, 'GET', `${connection}/${room}`, { id: 'a' });
    for (const move of ['approve', 'suspend', 'resume', 'disconnect', 'revoke', 'probe'])
      await check(404, 'POST', `${connection}/${move}`, { id: 'a' });
    await check(404, 'GET', `${FEDERATION}/commands/{id}`, { id: newId() });

    await check(404, 'GET', `${AUDIT}/proof/inclusion`, { query: '?sequence=1&size=100000' });
    await check(404, 'GET', `${AUDIT}/proof/consistency`, { query: '?from=1&to=100000' });
    await check(404, 'GET', `${AUDIT}/proof/compact-range`, { query: '?size=100000' });
    await check(400, 'GET', `${AUDIT}/heads/{instance}`, { id: 'No%20Id' });
    await check(200, 'GET', `${AUDIT}/heads/{instance}`, { id: 'nobody' });
    await check(404, 'DELETE', `${AUDIT}/heads/{instance}`, { id: 'nobody' });

    await check(400, 'POST', `${FEDERATION}/commands`, { body: { envelope: 'AAAA' } });
    await check(400, 'POST', `${FEDERATION}/connections/wishes`, { body: { event: 'AAAA' } });
    await check(400, 'POST', `${FEDERATION}/key-statements`, { body: { statement: 'AAAA' } });
    await check(413, 'POST', `${FEDERATION}/connections/wishes`, { body: { event: 'A'.repeat(3_000_000) } });
  });

  it('describes tokens, operators and invitations', async () => {
    await check(201, 'POST', TOKENS, { body: { name: 'alice' } });
    await check(409, 'POST', TOKENS, { body: { name: 'alice' } });
    await check(403, 'DELETE', `${TOKENS}/{name}`, { id: 'admin' });
    await check(204, 'DELETE', `${TOKENS}/{name}`, { id: 'alice' });
    await check(404, 'DELETE', `${TOKENS}/{name}`, { id: 'alice' });

    const operator = { id: 'op-alice', signature: toBase64(new Uint8Array(64)) };
    const publicKey = toHex(SigningKey.generate().publicKey);
    await check(422, 'POST', `${FEDERATION}/operators`, { body: { ...operator, publicKey } });
    await check(422, 'POST', `${FEDERATION}/operators`, { body: { ...operator, publicKey: '00'.repeat(32) } });
    await check(404, 'DELETE', `${FEDERATION}/operators/{id}`, { id: 'op-alice' });

    await check(201, 'POST', `${FEDERATION}/enrollments`, { body: {} });
    const redemption = { secret: 'A'.repeat(43), enrollment: 'AAAA' };
    await check(401, 'POST', `${FEDERATION}/enrollments/redeem`, { body: redemption });
  });

  it('describes what becomes of an instance that holds no link', async () => {
    const { invite } = await check<{ invite: string }>(201, 'POST', `${FEDERATION}/enrollments`, { body: {} });
    const spoke = new TestSpoke(hub, 'harbor');
    expect((await spoke.redeem(readInvite(invite))).status).toBe(200);
    const [{ id }] = await check<[{ id: string }]>(200, 'GET', `${FEDERATION}/connections`);
    const connection = `${FEDERATION}/connections/{id}`;
    await check(200, 'GET', `${connection}/enrollment`, { id });
    await check(409, 'POST', `${FEDERATION}/agents/spawn`, { body: spawn('harbor') });
    await check(409, 'POST', `${connection}/resume`, { id });
    await check(200, 'POST', `${connection}/approve`, { id });
    await check(504, 'GET', `${connection}/catalog`, { id });
    await check(504, 'GET', `${connection}/agents`, { id });
    const agentId = newId();
    await check(202, 'POST', `${FEDERATION}/agents/spawn`, { body: spawn('harbor', { agentId }) });
    await check(409, 'POST', `${FEDERATION}/agents/spawn`, { body: spawn('harbor', { agentId }) });
    await check(504, 'GET', `${FEDERATION}/agents/{agentId}/logs`, { id: agentId });
    await check(202, 'POST', `${FEDERATION}/agents/{agentId}/kill`, { id: agentId, body: { waitMs: 0 } });
    await check(204, 'DELETE', `${AUDIT}/heads/{instance}`, { id: 'harbor' });
    await check(200, 'POST', `${connection}/revoke`, { id });
    await check(409, 'POST', `${connection}/approve`, { id });
  });

  it('describes what is stopped, and armed again', async () => {
    const made = (name: string): Promise<{ token: string }> => check(201, 'POST', TOKENS, { body: { name } });
    const [{ token }, other] = [await made('bob'), await made('carol')];
    const path = `${FEDERATION}/agents`;
    const nobody = { scope: 'instance', instance: 'nobody' };
    await check(404, 'POST', `${path}/kill-all`, { body: nobody });
    await check(404, 'POST', `${path}/rearm`, { body: { scope: 'mesh' } });
    await using spoke = await TestSpoke.connected(hub, 'quay');
    await check(200, 'POST', `${path}/kill-all`, { body: { scope: 'mesh', waitMs: 0 }, token });
    await check(409, 'POST', `${path}/spawn`, { body: spawn(spoke.instanceId) });
    await check(403, 'POST', `${path}/rearm`, { body: { scope: 'mesh', waitMs: 0 }, token });
    await check(200, 'POST', `${path}/rearm`, { body: { scope: 'mesh', waitMs: 0 }, token: other.token });
  });

  it('describes what strangers are told who fail too often', async () => {
    const open = ['connections/wishes', 'enrollments/redeem', 'key-statements'];
    const bodies = [{ event: 'AAAA' }, { secret: 'A'.repeat(43), enrollment: 'AAAA' }, { statement: 'AAAA' }];
    for (const [at, room] of open.entries()) {
      const path = `${FEDERATION}/${room}`;
      const body = JSON.stringify(bodies[at]);
      let status = 0;
      for (let tries = 0; status !== 429 && tries < 200; tries += 1)
        ({ status } = await hub.request('POST', path, body, {}));
      await check(429, 'POST', path, { body: bodies[at] ?? {} });
    }
  });

  // The last: instances of these tests know the hub by its first key.
  it('describes that the hub has another key', async () => {
    await check(200, 'POST', `${FEDERATION}/instance/rotate-key`, { body: {} });
    await check(200, 'GET', `${FEDERATION}/key-statements`);
  });
});
