import pg from 'pg';
import { sha256Of } from '../../test/digest.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { hubId, newId } from '@capstan/protocol';
import { type StoredAuditRow, verifyChain } from '../audit/audit-chain.js';
import { HubConfig } from '../hub.config.js';
import { KillJournal } from '../kill-journal/kill-journal.js';
import { DatabaseService } from './database.service.js';
import type { RecordChange } from './record-change.js';
import { RecordWriter } from './record-writer.js';
import { WRITE_STATEMENT } from './write-statement.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;
let config: HubConfig;
let database: DatabaseService;
let writer: RecordWriter;
let client: pg.Client;

beforeAll(async () => {
  postgres = await startTestPostgres();
});

afterAll(async () => {
  await postgres.stop();
});

beforeEach(async () => {
  config = new HubConfig(hubId('hub'), 'Hub', '127.0.0.1', 0, '/nowhere', await postgres.freshDatabase(), undefined);
  database = new DatabaseService(config);
  await database.migrate();
  writer = new RecordWriter(config, new KillJournal('/nowhere'));
  client = new pg.Client({ connectionString: config.databaseUrl });
  await client.connect();
});

afterEach(async () => {
  await writer.onApplicationShutdown();
  await database.onApplicationShutdown();
  await client.end();
});

function change(
  agentId = newId(),
  kind = 'agent.spawn',
): RecordChange & { command: NonNullable<RecordChange['command']> } {
  const id = newId();
  const now = new Date().toISOString();
  const digest = sha256Of(id);
  const command = {
    id,
    kind,
    instance: 'harbor',
    agent_id: agentId,
    state: 'PENDING',
    issuer: null,
    envelope: 'AAAA',
    admission: null,
    digest,
    created_at: now,
    expires_at: now,
  };
  return {
    command,
    audit: [{ kind: 'command.issued', subject: id, atMs: Date.now(), detail: { instance: 'harbor' } }],
  };
}

async function chain(): Promise<StoredAuditRow[]> {
  const { rows } = await client.query<{
    sequence: string;
    kind: string;
    subject: string;
    record: string;
    hash: Buffer;
  }>('SELECT * FROM audit ORDER BY sequence');
  return rows.map((row) => ({ ...row, sequence: BigInt(row.sequence), hash: new Uint8Array(row.hash) }));
}

async function count(table: string): Promise<number> {
  const { rows } = await client.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
  return rows[0]?.n ?? -1;
}

test('writes that come together share statements, and none is lost', async () => {
  await Promise.all(Array.from({ length: 300 }, () => writer.write(change())));
  expect(await count('commands')).toBe(300);
  expect(await count('audit')).toBe(300);
  expect(await verifyChain(await chain())).toMatchObject({ ok: true, head: { sequence: 300n } });
  // Rows of one transaction bear its id.
  const { rows } = await client.query<{ xmin: string }>('SELECT xmin::text FROM commands');
  expect(new Set(rows.map(({ xmin }) => xmin)).size).toBeLessThan(10);
});

test('one wrong change does not take down those that share its statement', async () => {
  const agentId = newId();
  await writer.write(change(agentId));
  const writes = [change(), change(agentId), change()].map((each) => writer.write(each));
  const results = await Promise.allSettled(writes);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(await count('commands')).toBe(3);
  expect(await verifyChain(await chain())).toMatchObject({ ok: true, head: { sequence: 3n } });
});

test('a command that comes twice at once is written once, and two with one id stop nobody else', async () => {
  const [twice, taken] = [change(), change()];
  const other = { ...taken, command: { ...taken.command, digest: sha256Of('another') } };
  const writes = [twice, twice, taken, other, change()].map((each) => writer.write(each));
  const results = await Promise.allSettled(writes);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
  expect(await count('commands')).toBe(3);
  expect(await verifyChain(await chain())).toMatchObject({ ok: true });
});

test('a move waits for the command that it moves, and skips one that is elsewhere already', async () => {
  const made = change();
  const move = (state: string, from: string[]) => ({
    move: {
      id: made.command.id,
      from,
      state,
      delivered_at: null,
      settled_at: null,
      refusal_code: null,
      refusal_sentence: null,
    },
    audit: [],
  });
  await Promise.all([
    writer.write(made),
    writer.write(move('DELIVERED', ['PENDING']), { isLazy: true }),
    writer.write(move('FAILED', ['DELIVERED'])),
    writer.write(move('TIMEOUT', ['PENDING'])),
  ]);
  const { rows } = await client.query('SELECT state FROM commands');
  expect(rows).toEqual([{ state: 'FAILED' }]);
});

test('what is kept is written when the database is back, what is not is refused at once', async () => {
  await writer.write(change());
  await client.end();
  await postgres.crash();
  const kept = writer.write(change(), { whenAway: 'keep' });
  await expect(writer.write(change())).rejects.toMatchObject({ code: 'database-unavailable' });
  await expect(writer.transaction(() => Promise.resolve({ result: 1, audit: [] }))).rejects.toMatchObject({
    code: 'database-unavailable',
  });
  await postgres.restart();
  await kept;
  client = new pg.Client({ connectionString: config.databaseUrl });
  await client.connect();
  expect(await count('commands')).toBe(2);
  expect(await verifyChain(await chain())).toMatchObject({ ok: true, head: { sequence: 2n } });
});

test('a transaction that fails leaves nothing, and the chain goes on', async () => {
  await writer.write(change());
  const failing = writer.transaction(async (tx) => {
    await tx.query(`INSERT INTO tokens VALUES ('x', '\\x00', now())`);
    throw new Error('no');
  });
  await expect(failing).rejects.toMatchObject({ code: 'database-unavailable' });
  expect(await count('tokens')).toBe(0);
  await writer.write(change());
  expect(await verifyChain(await chain())).toMatchObject({ ok: true, head: { sequence: 2n } });
});

test('two hubs on one database keep one chain', async () => {
  const other = new RecordWriter(config, new KillJournal('/nowhere'));
  try {
    for (let turn = 0; turn < 5; turn++) await Promise.all([writer.write(change()), other.write(change())]);
    expect(await verifyChain(await chain())).toMatchObject({ ok: true, head: { sequence: 10n } });
  } finally {
    await other.onApplicationShutdown();
  }
});

describe('the audit chain', () => {
  beforeEach(async () => {
    for (let entry = 0; entry < 5; entry++) await writer.write(change());
  });

  test.each([
    ['an entry is edited', `UPDATE audit SET record = replace(record, 'harbor', 'quay') WHERE sequence = 3`],
    ['an entry is removed', 'DELETE FROM audit WHERE sequence = 3'],
    ['a hash is changed', `UPDATE audit SET hash = sha256('x') WHERE sequence = 5`],
    ['what is shown beside the record is edited', `UPDATE audit SET subject = 'somebody' WHERE sequence = 2`],
    [
      'two entries change places',
      `UPDATE audit SET sequence = CASE sequence WHEN 2 THEN 30 WHEN 3 THEN 20 END WHERE sequence IN (2, 3);
      UPDATE audit SET sequence = sequence / 10 WHERE sequence > 10`,
    ],
  ])('shows when %s', async (_what, attack) => {
    await client.query(attack);
    expect(await verifyChain(await chain())).toMatchObject({ ok: false });
  });

  test('shows that its end was cut off to whoever remembers the head', async () => {
    const verdict = await verifyChain(await chain());
    if (!verdict.ok) throw new Error(verdict.why);
    await client.query('DELETE FROM audit WHERE sequence = 5');
    expect(await verifyChain(await chain(), verdict.head)).toMatchObject({ ok: false });
  });
});

// Regression: the plan was made for empty tables, and each write read all commands that there had ever been.
it('finds what it writes by key, however the tables have grown since the statement was prepared', async () => {
  const plan = await writer.transaction(async (own) => {
    const { rows } = await own.query<{ 'QUERY PLAN': string }>(`EXPLAIN (GENERIC_PLAN) ${WRITE_STATEMENT}`);
    return { result: rows.map((row) => row['QUERY PLAN']).join('\n'), audit: [] };
  });
  expect(plan).toContain('Index Scan using commands_pkey on commands');
  expect(plan).not.toContain('Seq Scan');
});
