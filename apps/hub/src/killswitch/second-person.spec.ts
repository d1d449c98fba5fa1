import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { TestHub } from '../../test/test-hub.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

const TOKENS = '/api/v1/auth/tokens';

let postgres: TestPostgres;
let hub: TestHub;
/** By name. `admin` is the hub's file; it has introduced alice and bob; alice and bob have made themselves others. */
const tokens: Record<string, string> = {};

beforeAll(async () => {
  postgres = await startTestPostgres();
  hub = await TestHub.start(await postgres.freshDatabase());
  tokens['admin'] = hub.token;
  for (const [name, maker] of [
    ['alice', 'admin'],
    ['bob', 'admin'],
    ['alice-2', 'alice'],
    ['alice-3', 'alice-2'],
    ['alice-4', 'alice'],
    ['bob-2', 'bob'],
  ] as const) {
    const { body } = await as(maker).post<{ token: string }>(TOKENS, { name });
    tokens[name] = body.token;
  }
});
afterAll(async () => {
  await hub[Symbol.asyncDispose]();
  await postgres.stop();
});

function as(name: string) {
  const headers = { authorization: `Bearer ${tokens[name] ?? ''}`, accept: 'application/json' };
  return {
    post: <T>(path: string, body: object) => hub.request<T>('POST', path, JSON.stringify(body), headers),
    remove: (path: string) => hub.request('DELETE', path, undefined, headers),
  };
}

let scopes = 0;

/** A scope of its own that this token has stopped. */
async function stoppedBy(killer: string): Promise<object> {
  const order = { scope: 'tenant', tenant: `berth-${String(++scopes)}`, waitMs: 0 };
  expect((await as(killer).post('agents/kill-all', order)).status).toBe(200);
  return order;
}

async function rearm(order: object, rearmer: string): Promise<string | undefined> {
  const { status, body } = await as(rearmer).post<{ code?: string }>('agents/rearm', order);
  return status === 200 ? 'rearmed' : body.code;
}

test.each([
  ['the token itself', 'alice', 'alice'],
  ['one that the killer has made', 'alice', 'alice-2'],
  ['one that such a one has made', 'alice', 'alice-3'],
  ['the one that has made it', 'alice-2', 'alice'],
  ['another that the same one has made', 'alice-3', 'alice-4'],
  ['one that the hub’s file has made, of what that has stopped', 'admin', 'alice'],
  ['the hub’s file, of what one has stopped that it has made', 'alice', 'admin'],
])('%s is no second person', (_, killer, rearmer) =>
  proves('FED-10', async () => {
    expect(await rearm(await stoppedBy(killer), rearmer)).toBe('rearm-same-person');
  })(),
);

test.each([
  ['alice', 'bob'],
  ['bob', 'alice-3'],
  ['alice-3', 'bob-2'],
])('what %s has stopped, %s re-arms: the hub’s file has introduced both', (killer, rearmer) =>
  proves('FED-10', async () => {
    expect(await rearm(await stoppedBy(killer), rearmer)).toBe('rearmed');
  })(),
);

test('whoever re-arms what the token of the hub’s file has stopped is told that it is about that token', async () => {
  const { body } = await as('bob').post('agents/rearm', await stoppedBy('admin'));
  expect(JSON.stringify(body)).toContain("the token of the hub's file");
});

test('a token that was taken back since is still the person that it was', async () => {
  const order = await stoppedBy('alice');
  expect((await as('alice-4').remove(`${TOKENS}/alice`)).status).toBe(204);
  expect(await rearm(order, 'alice-4')).toBe('rearm-same-person');
  expect(await rearm(order, 'bob-2')).toBe('rearmed');
});
