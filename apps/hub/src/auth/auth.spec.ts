import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { DatabaseService } from '../database/database.service.js';
import { tokens } from '../database/schema.js';
import { TestHub } from '../../test/test-hub.js';
import { loadOrCreateAdminToken } from './admin-token.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

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

/** Routes that ask for no token, and why each may: this list is the decision, the walk below holds the code to it. */
const OPEN = [
  'GET /api/v1/federation/instance', // public keys are public
  'POST /api/v1/federation/connections/wishes', // the owner's signature admits his wish
  'POST /api/v1/federation/key-statements', // two signatures admit a statement
  'POST /api/v1/federation/enrollments/redeem', // the secret of the invitation is the token
  'GET /health',
  'GET /health/ready',
  'GET /docs', // describes the API, shows nothing of the mesh
  'GET /docs-json',
  'GET /docs-yaml',
];

interface Layer {
  route?: { path: string; methods: Record<string, boolean> };
}

/** Every route that express knows, Nest's and others'. */
function routes(): string[] {
  const { router } = hub.app.getHttpAdapter().getInstance() as { router: { stack: Layer[] } };
  return router.stack.flatMap(({ route }) =>
    route === undefined ? [] : Object.keys(route.methods).map((method) => `${method.toUpperCase()} ${route.path}`),
  );
}

const isOpen = (route: string): boolean => OPEN.includes(route) || route.includes(' /docs/');

test('every route but the open ones asks for a token', async () => {
  const all = routes();
  expect(all).toEqual(
    expect.arrayContaining([...OPEN, 'GET /metrics', 'POST /api/v1/federation/agents/:agentId/kill']),
  );
  const bad = [
    '',
    'Bearer',
    'Bearer wrong',
    `Basic ${hub.token}`,
    `Bearer ${hub.token}x`,
    `Bearer ${hub.token.slice(0, -1)}`,
    `bearer  `,
  ];
  for (const route of all.filter((each) => !isOpen(each))) {
    const [method = '', path = ''] = route.split(' ');
    for (const authorization of bad) {
      const reply = await hub.request(method, path.replace(/:\w+/g, 'some-id'), undefined, { authorization });
      expect({ route, authorization, status: reply.status, code: reply.body['code'] }).toEqual({
        route,
        authorization,
        status: 401,
        code: 'unauthorized',
      });
      expect(reply.headers.get('www-authenticate')).toBe('Bearer');
    }
  }
});

test('the open routes answer without one', async () => {
  for (const route of OPEN) {
    const [method = '', path = ''] = route.split(' ');
    expect({ route, status: (await hub.request(method, path, undefined, {})).status }).not.toMatchObject({
      status: 401,
    });
  }
});

test('the metrics and the API description are served', async () => {
  const figures = await hub.get<{ text: string }>('/metrics');
  expect(figures).toMatchObject({ status: 200, body: { text: expect.stringContaining('capstan_links') as string } });
  const { body } = await hub.get<{ paths: object }>('/docs-json');
  expect(Object.keys(body.paths)).toContain('/api/v1/federation/agents/spawn');
});

test('what is too large, no JSON or no route is a problem document', async () => {
  const post = (body: string) =>
    hub.request('POST', 'agents/spawn', body, {
      authorization: `Bearer ${hub.token}`,
      'content-type': 'application/json',
    });
  expect(await post(JSON.stringify({ filler: 'x'.repeat(200_000) }))).toMatchObject({
    status: 413,
    body: { code: 'envelope-too-large' },
  });
  expect(await post('{"instance":')).toMatchObject({ status: 400, body: { code: 'validation' } });
  expect(await post('[]')).toMatchObject({ status: 400, body: { code: 'validation' } });
  const missing = await hub.get('/api/v1/nothing');
  expect(missing).toMatchObject({ status: 404, body: { code: 'not-found' } });
  expect(missing.headers.get('content-type')).toContain('application/problem+json');
});

test('the admin token is in a file of its owner only, and in the database as a digest', async () => {
  const file = join(hub.stateDirectory, 'admin.token');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const { db } = hub.app.get(DatabaseService, { strict: false });
  const rows = await db.select().from(tokens);
  const digest = createHash('sha256').update(hub.token).digest();
  expect(rows.map((row) => Buffer.from(row.digest).toString('hex'))).toEqual([digest.toString('hex')]);
  expect(JSON.stringify(rows)).not.toContain(hub.token);
});

describe('the admin token file', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'capstan-token-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  test('is made once, also by two at a time, and read from then on', async () => {
    const [one, two] = await Promise.all([loadOrCreateAdminToken(directory), loadOrCreateAdminToken(directory)]);
    expect(one).toBe(two);
    expect(await loadOrCreateAdminToken(directory)).toBe(one);
    expect((await readFile(join(directory, 'admin.token'), 'utf8')).trim()).toBe(one);
  });

  test('is refused where others can read it, or where it holds no token', async () => {
    await loadOrCreateAdminToken(directory);
    await chmod(join(directory, 'admin.token'), 0o644);
    await expect(loadOrCreateAdminToken(directory)).rejects.toMatchObject({ code: 'token-file-open' });
    await writeFile(join(directory, 'admin.token'), 'secret');
    await chmod(join(directory, 'admin.token'), 0o600);
    await expect(loadOrCreateAdminToken(directory)).rejects.toMatchObject({ code: 'token-file-malformed' });
  });
});

test('removing the file and starting again changes the token: the old one holds no longer', async () => {
  const first = await TestHub.start(await postgres.freshDatabase());
  await first.stop();
  await rm(join(first.stateDirectory, 'admin.token'));
  const second = await TestHub.start(first.databaseUrl, first.stateDirectory);
  try {
    expect(second.token).not.toBe(first.token);
    expect((await second.get('connections')).status).toBe(200);
    const withOld = await second.request('GET', 'connections', undefined, { authorization: `Bearer ${first.token}` });
    expect(withOld.status).toBe(401);
  } finally {
    await second.stop();
    await rm(first.stateDirectory, { recursive: true, force: true });
  }
});
