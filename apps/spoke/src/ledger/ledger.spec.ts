import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyRecord, KeyRing, makeHeader, signPayload, SigningKey } from '@capstan/identity';
import { CommandSchema, create, Direction, newId, toBinary } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { removeDir, testValkey, until } from '../../test/processes.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { InstanceDir } from '../instance/instance-dir.js';
import { outboxItem } from '../receipts/signed-item.js';
import { SpokeValkey } from '../valkey/spoke-valkey.js';
import { type VerifiedCommand, verifyCommand } from '../verify/verify-order.js';
import { Ledger } from './ledger.js';

const key = SigningKey.generate();
const keys = new KeyRing([keyRecord('hub', key.publicKey, ['command'])]);
const START = 1_800_000_000_000;
let nowMs = START;
let dir: string;
let server: ReturnType<typeof testValkey>;
let valkey: SpokeValkey;
let ledger: Ledger;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cs-'));
  server = testValkey(dir);
  await server.start();
  const config = new SpokeConfig(new InstanceDir(dir), server.url, { path: '/nowhere' }, () => nowMs);
  valkey = new SpokeValkey(config);
  ledger = new Ledger(valkey, config);
  await until(() => valkey.ask((client) => client.ping()).catch(() => undefined));
}, 20_000);
afterAll(async () => {
  await valkey?.onApplicationShutdown();
  await server?.[Symbol.asyncDispose]();
  await removeDir(dir);
});

function order(issuedMs: number, body: 'status' | 'spawn' = 'status'): VerifiedCommand {
  const agentId = `agent-${newId()}`;
  const header = makeHeader({ issuer: 'hub', audience: 'harbor', direction: Direction.HUB_TO_SPOKE, nowMs: issuedMs });
  const value = { agentId, taskId: 'task', context: {} };
  const payload = toBinary(CommandSchema, create(CommandSchema, { header, body: { case: body, value } }));
  return verifyCommand(signPayload(key, 'command', payload), { instanceId: 'harbor', keys, nowMs: issuedMs });
}

function receipt(): ReturnType<typeof outboxItem> {
  return outboxItem('results', signPayload(key, 'receipt', Buffer.from(newId())));
}

describe('the ledger', () => {
  it('keeps the first outcome', async () => {
    const command = order(nowMs);
    const [first, second] = [receipt(), receipt()];
    expect(await ledger.conclude(command, nowMs, first)).toEqual({ kind: 'recorded' });
    expect(await ledger.conclude(command, nowMs, second)).toMatchObject({
      kind: 'known',
      command: { receipt: first.envelope },
    });
    expect(await ledger.find(command)).toMatchObject({ state: 'settled', receipt: first.envelope });
  });

  it('keeps an entry longer than its command can be taken', async () => {
    const command = order(nowMs);
    await ledger.conclude(command, nowMs, receipt());
    nowMs += 60_000 + 30_000 + 29_999;
    await ledger.prune();
    expect(await ledger.find(command)).toBeDefined();
    nowMs += 1;
    await ledger.prune();
    expect(await ledger.find(command)).toBeUndefined();
  });

  it(
    'takes no pruned command for new when the clock is set back',
    proves('FED-07', async () => {
      const command = order(nowMs, 'spawn');
      const offer = ledger.offerOf(command, nowMs);
      expect(await ledger.accept(command, nowMs)).toEqual({ kind: 'recorded' });
      await ledger.settle(offer, receipt(), false);
      const before = nowMs;
      nowMs += 3_600_000;
      await ledger.prune();
      expect(await ledger.find(command)).toBeUndefined();
      nowMs = before;
      expect(await ledger.accept(command, nowMs)).toEqual({ kind: 'pruned' });
      // What is issued after the clock was corrected is taken, however far it had run ahead.
      expect(await ledger.accept(order(before + 3_600_000, 'spawn'), nowMs)).toEqual({ kind: 'recorded' });
      nowMs = before + 3_600_000;
    }),
  );

  it('never prunes an intent that is not settled', async () => {
    const command = order(nowMs, 'spawn');
    await ledger.accept(command, nowMs);
    nowMs += 365 * 24 * 3_600_000;
    await ledger.prune();
    expect((await ledger.offers()).map(({ order: { id } }) => id)).toContain(command.id);
  });
});

describe('a Valkey that keeps nothing on disk', () => {
  it(
    'is not used',
    proves('FED-08', async () => {
      await valkey.ask((client) => client.config('SET', 'appendfsync', 'everysec'));
      const config = new SpokeConfig(new InstanceDir(dir), server.url, { path: '/nowhere' });
      const careless = new SpokeValkey(config);
      const answer = await until(() =>
        careless
          .ask((client) => client.ping())
          .catch((error: unknown) => String(error).includes('append-only') && String(error)),
      );
      expect(answer).toContain('queue-unavailable');
      await careless.onApplicationShutdown();
      await valkey.ask((client) => client.config('SET', 'appendfsync', 'always'));
    }),
  );
});
