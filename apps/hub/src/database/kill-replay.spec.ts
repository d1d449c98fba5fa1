import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { hubId, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/until.js';
import { sha256Of } from '../../test/digest.js';
import { HubConfig } from '../hub.config.js';
import { KillJournal } from '../kill-journal/kill-journal.js';
import { DatabaseService } from './database.service.js';
import { replayKills } from './kill-replay.js';
import type { RecordChange } from './record-change.js';
import { RecordWriter } from './record-writer.js';

jest.setTimeout(60_000);

let postgres: TestPostgres;
let directory: string;
let config: HubConfig;
let database: DatabaseService;
let client: pg.Client;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(async () => {
  await postgres.stop();
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'capstan-kills-'));
  config = new HubConfig(hubId('hub'), 'Hub', '127.0.0.1', 0, directory, await postgres.freshDatabase(), undefined);
  database = new DatabaseService(config);
  await database.migrate();
  client = new pg.Client({ connectionString: config.databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
});
afterEach(async () => {
  await database.onApplicationShutdown();
  await client.end().catch(() => undefined);
  await rm(directory, { recursive: true, force: true });
});

const journalOf = (): KillJournal<RecordChange> => new KillJournal(directory);

function kill(id = newId()): RecordChange {
  const now = Date.now() - 1000;
  const at = new Date(now).toISOString();
  const row = { id, kind: 'agent.kill', instance: 'harbor', agent_id: 'agent-1', state: 'PENDING', issuer: null };
  const command = { ...row, envelope: 'AAAA', admission: null, digest: sha256Of(id), created_at: at, expires_at: at };
  return { command, audit: [{ kind: 'command.issued', subject: id, atMs: now, detail: { by: 'admin' } }] };
}

/** What a hub that was killed has left. */
async function leave(...changes: RecordChange[]): Promise<void> {
  const journal = journalOf();
  await Promise.all(changes.map((change) => journal.append(change).written));
  await journal.close();
}

async function replay(): Promise<void> {
  const writer = new RecordWriter(config, journalOf());
  await replayKills(journalOf(), writer, database);
  await writer.onApplicationShutdown();
}

async function chain(): Promise<Record<string, unknown>[]> {
  const { rows } = await client.query<{ record: string }>('SELECT record FROM audit ORDER BY sequence');
  return rows.map(({ record }) => JSON.parse(record) as Record<string, unknown>);
}

async function commandIds(): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>('SELECT id FROM commands ORDER BY id');
  return rows.map(({ id }) => id);
}

it(
  'brings what a hub that was killed had ordered to the database, and the chain calls it late',
  proves('FED-10', async () => {
    const changes = [kill(), kill()];
    await leave(...changes);
    await replay();
    const ids = changes.map(({ command }) => command?.id ?? '');
    expect(await commandIds()).toEqual([...ids].sort());
    expect(await chain()).toMatchObject(ids.map((subject) => ({ kind: 'command.issued', subject, late: true })));
    expect(await readdir(directory)).toEqual([]);
  }),
);

it('writes nothing a second time that had been committed all the same', async () => {
  const [committed, lost] = [kill(), kill()];
  const writer = new RecordWriter(config, journalOf());
  await writer.writeKill(committed).committed;
  await writer.onApplicationShutdown();
  await leave(committed, lost);
  await replay();
  await leave(committed, lost);
  await replay();
  const subjects = (await chain()).map(({ subject }) => subject);
  expect(subjects).toEqual([committed.command?.id, lost.command?.id]);
  expect(await commandIds()).toHaveLength(2);
});

it('starts without an entry that the database will never take, and with all others', async () => {
  const refused: RecordChange = { receipt: receiptOfNothing(), audit: [] };
  const [before, after] = [kill(), kill()];
  await leave(before, refused, after);
  await replay();
  expect(await commandIds()).toEqual([before.command?.id, after.command?.id].sort());
  expect(await readdir(directory)).toEqual([]);
});

it('says in the chain that a journal was damaged, and puts it aside', async () => {
  const change = kill();
  await leave(change);
  const [name = ''] = await readdir(directory);
  await appendFile(join(directory, name), '00000000 {}\ntorn');
  await replay();
  expect(await commandIds()).toEqual([change.command?.id]);
  expect(await chain()).toContainEqual(
    expect.objectContaining({ kind: 'kill-journal.damaged', detail: expect.anything() as unknown }),
  );
  expect(await readdir(directory)).toEqual([expect.stringMatching(/damaged$/)]);
});

describe('while the database is away', () => {
  it(
    'a kill is recorded on the disk of the hub, and there is nothing left of it once the database has it',
    proves('FED-10', async () => {
      const journal = journalOf();
      const writer = new RecordWriter(config, journal);
      await postgres.crash();
      const change = kill();
      const { recorded, committed } = writer.writeKill(change);
      await recorded;
      const [left] = await until('it is on disk', async () => {
        const names = await readdir(directory);
        return names.length === 1 ? names : undefined;
      });
      expect(left).toMatch(/\.kills$/);
      await postgres.restart();
      await committed;
      await writer.onApplicationShutdown();
      expect(await readdir(directory)).toEqual([]);
    }),
  );

  it('a kill waits for neither disk: it is recorded nowhere, and goes on', async () => {
    const writer = new RecordWriter(config, new KillJournal('/dev/full/kills'));
    await postgres.crash();
    const { recorded, committed } = writer.writeKill(kill());
    await recorded;
    await postgres.restart();
    await committed;
    await writer.onApplicationShutdown();
  });

  it('a kill outlives a hub that ends in order before the database is back', async () => {
    const writer = new RecordWriter(config, journalOf());
    await postgres.crash();
    const change = kill();
    const { committed } = writer.writeKill(change);
    const refused = expect(committed).rejects.toMatchObject({ code: 'database-unavailable' });
    await writer.onApplicationShutdown();
    await refused;
    await postgres.restart();
    const reader = new pg.Client({ connectionString: config.databaseUrl });
    await reader.connect();
    await replay();
    const { rows } = await reader.query<{ id: string }>('SELECT id FROM commands');
    await reader.end();
    expect(rows).toEqual([{ id: change.command?.id }]);
  });
});

function receiptOfNothing(): NonNullable<RecordChange['receipt']> {
  const at = new Date().toISOString();
  const about = { command_id: newId(), instance: 'harbor', agent_id: 'agent-1', kind: 'killed' };
  return { ...about, digest: sha256Of('receipt'), envelope: 'AAAA', received_at: at };
}
