import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { TestHub } from '../../test/test-hub.js';
import { DatabaseService } from '../database/database.service.js';
import { audit } from '../database/schema.js';

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

const PATH = '/api/v1/auth/tokens';
const make = (name: string) => hub.request<{ token: string; code?: string }>('POST', PATH, JSON.stringify({ name }));
const withToken = (token: string, method = 'GET', path = 'connections') =>
  hub.request(method, path, undefined, { authorization: `Bearer ${token}` });

test(
  'each admin has a token of his own, told once and known by its name',
  proves('FED-10', async () => {
    const { status, body } = await make('alice');
    expect(status).toBe(201);
    expect(body.token).toMatch(/^capstan-admin-[A-Za-z0-9_-]{43}$/);
    expect((await withToken(body.token)).status).toBe(200);
    const listed = await hub.get<{ name: string }[]>(PATH);
    expect(listed.body.map(({ name }) => name)).toEqual(['admin', 'alice']);
    expect(JSON.stringify(listed.body)).not.toContain(body.token);
  }),
);

test('a name is given once', async () => {
  expect((await make('bob')).status).toBe(201);
  expect(await make('bob')).toMatchObject({ status: 409, body: { code: 'name-taken' } });
  expect((await make('Bob; DROP')).status).toBe(400);
});

test('a token that was taken back opens nothing, at once', async () => {
  const { token } = (await make('carol')).body;
  expect((await withToken(token)).status).toBe(200);
  expect((await withToken(hub.token, 'DELETE', `${PATH}/carol`)).status).toBe(204);
  expect((await withToken(token)).status).toBe(401);
  expect((await withToken(hub.token, 'DELETE', `${PATH}/carol`)).status).toBe(404);
});

test('a name that was taken back is given to nobody else', async () => {
  expect((await make('frida')).status).toBe(201);
  expect((await withToken(hub.token, 'DELETE', `${PATH}/frida`)).status).toBe(204);
  expect(await make('frida')).toMatchObject({ status: 409, body: { code: 'name-taken' } });
});

test('a token says from whom it stems, also once that one was taken back', async () => {
  const makes = async (name: string, token: string): Promise<string> =>
    (await hub.request<{ token: string }>('POST', PATH, JSON.stringify({ name }), { authorization: `Bearer ${token}` }))
      .body.token;
  const second = await makes('gina-2', await makes('gina', hub.token));
  expect((await withToken(second, 'DELETE', `${PATH}/gina`)).status).toBe(204);
  await makes('gina-3', second);
  const { body } = await hub.get<{ name: string; madeBy: string[] }[]>(PATH);
  const line = (name: string): string[] | undefined => body.find((token) => token.name === name)?.madeBy;
  expect(line('admin')).toEqual([]);
  expect(line('gina')).toBeUndefined();
  expect(line('gina-2')).toEqual(['gina', 'admin']);
  expect(line('gina-3')).toEqual(['gina-2', 'gina', 'admin']);
});

test('the token of the file can only be changed by the file', async () => {
  expect(await withToken(hub.token, 'DELETE', `${PATH}/admin`)).toMatchObject({
    status: 403,
    body: { code: 'forbidden' },
  });
  expect((await withToken(hub.token)).status).toBe(200);
});

test('the record says who made and who took a token, and never what it was', async () => {
  const { token } = (await make('dave')).body;
  await withToken(token, 'DELETE', `${PATH}/dave`);
  const rows = await hub.app.get(DatabaseService, { strict: false }).db.select().from(audit);
  const about = rows.filter(({ subject }) => subject === 'dave').map(({ record }) => JSON.parse(record) as unknown);
  expect(about).toMatchObject([
    { kind: 'token.made', detail: { by: 'admin' } },
    { kind: 'token.removed', detail: { by: 'dave' } },
  ]);
  expect(JSON.stringify(rows.map(({ record }) => record))).not.toContain(token);
});
