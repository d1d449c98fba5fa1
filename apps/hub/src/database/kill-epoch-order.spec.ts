import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { hubId } from '@capstan/protocol';
import { HubConfig } from '../hub.config.js';
import { KillJournal } from '../kill-journal/kill-journal.js';
import { DatabaseService } from './database.service.js';
import { RecordWriter } from './record-writer.js';
import { killEpochs } from './schema.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

/** A word about one scope: its number, whether it arms, and the clock of the replica that says it, milliseconds. */
type Word = [is: 'disarm' | 'rearm', epoch: number, atMs: number];

let postgres: TestPostgres;
let database: DatabaseService;
let writer: RecordWriter;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());
beforeEach(async () => {
  const url = await postgres.freshDatabase();
  const config = new HubConfig(hubId('hub'), 'Hub', '127.0.0.1', 0, '/nowhere', url, undefined);
  database = new DatabaseService(config);
  await database.migrate();
  writer = new RecordWriter(config, new KillJournal('/nowhere'));
});
afterEach(async () => {
  await writer.onApplicationShutdown();
  await database.onApplicationShutdown();
});

/** What the database holds once these have come, one after the other. */
async function after(words: readonly Word[]): Promise<string> {
  for (const [is, epoch, atMs] of words) {
    const scope = { instance: '', scope: 'mesh', scope_id: '', ordered_by: 'admin', connection: '' };
    const row = { ...scope, epoch: String(epoch), armed: is === 'rearm', changed_at: new Date(atMs).toISOString() };
    await writer.write({ killEpochs: [row], audit: [] });
  }
  const [row] = await database.db.select().from(killEpochs);
  return `${row?.armed === true ? 'armed' : 'disarmed'} ${String(row?.epoch)}`;
}

describe('a scope that several replicas disarm and re-arm', () => {
  it.each<[string, Word[], string]>([
    // prettier-ignore
    ['a kill-all by a clock that lags, after a re-arming', [['disarm', 5, 9_000], ['rearm', 5, 9_001], ['disarm', 6, 1_000]], 'disarmed 6'],
    // prettier-ignore
    ['an older re-arming that comes late, by a clock ahead', [['disarm', 6, 1_000], ['rearm', 5, 9_001]], 'disarmed 6'],
    // prettier-ignore
    ['a kill-all of the same number, before the re-arming of another', [['disarm', 5, 9_000], ['disarm', 5, 9_500], ['rearm', 5, 9_001]], 'disarmed 5'],
    // prettier-ignore
    ['a kill-all of the same number, after the re-arming of another', [['disarm', 5, 9_000], ['rearm', 5, 9_001], ['disarm', 5, 1_000]], 'disarmed 5'],
  ])('stays disarmed: %s', async (_, words, expected) => {
    expect(await after(words)).toBe(expected);
  });

  it.each<[string, Word[], string]>([
    // prettier-ignore
    ['by the answer to its disarming', [['disarm', 5, 9_000], ['rearm', 5, 9_001]], 'armed 5'],
    // prettier-ignore
    ['also where that disarming is written once more', [['disarm', 5, 9_000], ['rearm', 5, 9_001], ['disarm', 5, 9_000]], 'armed 5'],
    // prettier-ignore
    ['where a reaper has begun to count anew', [['disarm', 10, 9_000], ['disarm', 4, 9_001], ['rearm', 4, 9_002]], 'armed 4'],
  ])('is armed again: %s', async (_, words, expected) => {
    expect(await after(words)).toBe(expected);
  });
});
