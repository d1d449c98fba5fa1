import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  keyRecord,
  type KeyRecord,
  KeyRing,
  loadTrust,
  makeKeyStatement,
  saveTrust,
  SigningKey,
} from '@capstan/identity';
import { Direction, type Envelope, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { Foreigner } from '../../test/foreign.js';
import { until } from '../../test/processes.js';
import { POLICY, TestInstance } from '../../test/test-instance.js';

jest.setTimeout(60_000);

const quay = new Foreigner('quay');
const [second, thief, root] = [0, 1, 2].map(() => SigningKey.generate()) as [SigningKey, SigningKey, SigningKey];
const PEERS = 'peers:\n  - { instance: quay, verbs: [spawn, status, kill] }\n';

let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start();
  await writeFile(join(instance.dir, 'policy.yaml'), POLICY + PEERS);
});
afterAll(async () => {
  await instance?.[Symbol.asyncDispose]();
});

const file = (): string => join(instance.dir, 'peers.json');
const pin = (...keys: KeyRecord[]): Promise<void> => saveTrust(file(), new KeyRing([quay.record, ...keys]));
const pinned = async (): Promise<string[]> => (await loadTrust(file())).records().map(({ keyId }) => keyId);
const later = (key: SigningKey, epoch = 2): KeyRecord => ({
  ...keyRecord('quay', key.publicKey, ['command', 'receipt']),
  epoch,
});

/** As quay makes it: `key` in the place of its first one. */
function statement(
  key: SigningKey,
  by = quay.key,
  change: Partial<Parameters<typeof makeKeyStatement>[0]> = {},
): Envelope {
  const old = keyRecord('quay', quay.key.publicKey, ['link', 'receipt', 'command']);
  const overlap = by === quay.key ? { oldUntilMs: Date.now() + 60_000 } : {};
  return makeKeyStatement({ old, key, by, hubId: 'hub', direction: Direction.SPOKE_TO_HUB, ...overlap, ...change });
}

const ask = (key: SigningKey, keyEpoch = 2): Envelope =>
  quay.command({ case: 'status', value: { agentId: `agent-${newId()}` } }, { keyEpoch }, key);

/** Sends a command as the hub does, which vouches for the key and hands on what it knows. @returns the code of the refusal */
async function refusal(command: Envelope, key: KeyRecord, statements: Envelope[]): Promise<string> {
  const digest = await instance.hub.sendRouted(command, instance.hub.admit(command, key), 'commands', statements);
  return (await until(() => instance.hub.rejected.find((each) => each.digest === digest), 'a rejection')).code;
}

async function taken(command: Envelope, key: KeyRecord, statements: Envelope[]): Promise<void> {
  await instance.hub.sendRouted(command, instance.hub.admit(command, key), 'commands', statements);
  await until(() => instance.hub.envelopesOf(command)[0], 'an answer');
}

async function audited(kind: string): Promise<void> {
  const log = join(instance.dir, 'audit', 'spoke.log');
  await until(async () => (await readFile(log, 'utf8')).includes(kind) || undefined, kind);
}

describe('the pinned key of another instance', () => {
  it(
    'is followed by its own statement, on disk before anything is ordered with the next; its own time ends',
    proves('FED-11', async () => {
      await pin();
      const earlier = { nowMs: Date.now() - 1_000, lifetimeMs: 3_600_000, keyEpoch: 1 };
      expect(await refusal(ask(second), later(second), [])).toBe('key-unknown');
      await taken(ask(second), later(second), [statement(second, quay.key, { oldUntilMs: 0 })]);
      expect(await pinned()).toEqual([quay.key.keyId, second.keyId]);
      await audited('peer.key-replaced');
      // Without a statement now, and the old key no more.
      await taken(ask(second), later(second), []);
      expect(await refusal(ask(quay.key, 1), quay.record, [])).toBe('key-revoked');
      const backDated = quay.command({ case: 'status', value: { agentId: `agent-${newId()}` } }, earlier);
      expect(await refusal(backDated, quay.record, [])).toBe('key-revoked');
      expect(await refusal(ask(second, 1), later(second), [])).toBe('key-revoked');
    }),
  );

  it.each<[string, () => Envelope]>([
    ['that nobody but the new key has signed', () => statement(second, second)],
    ['of a root key that is not pinned', () => statement(second, root)],
    ['of an epoch that jumps', () => statement(second, quay.key, { old: { ...quay.record, epoch: 4 } })],
  ])('is not followed by a statement %s: the owner hears what to do', (_what, make) =>
    proves('FED-11', async () => {
      await pin();
      expect(await refusal(ask(second), later(second), [make()])).toBe('key-unfollowed');
      expect(await pinned()).toEqual([quay.key.keyId]);
      await audited('peer.key-unfollowed');
      await taken(ask(quay.key, 1), quay.record, [make()]);
    })(),
  );

  it(
    'is followed by the root key where that is pinned: a thief’s orders are refused from then on',
    proves('FED-11', async () => {
      await pin(keyRecord('quay', root.publicKey, ['root']));
      const stolen = statement(thief);
      await taken(ask(thief), later(thief), [stolen]);
      await taken(ask(second), later(second), [stolen, statement(second, root)]);
      expect(await refusal(ask(thief), later(thief), [stolen])).toBe('key-revoked');
      expect(await refusal(ask(quay.key, 1), quay.record, [])).toBe('key-revoked');
    }),
  );

  it(
    'that has signed for two keys is followed to neither, loudly',
    proves('FED-11', async () => {
      await pin();
      const both = [statement(second), statement(thief)];
      for (const key of [second, thief]) expect(await refusal(ask(key), later(key), both)).toBe('key-fork');
      expect(await pinned()).toEqual([quay.key.keyId]);
      await audited('peer.key-forked');
    }),
  );

  it('is not a root key: that orders nothing, and keeps no peer from being pinned at first use', async () => {
    await saveTrust(file(), new KeyRing([keyRecord('quay', root.publicKey, ['root'])]));
    await taken(ask(quay.key, 1), quay.record, []);
    expect(await pinned()).toEqual([root.keyId, quay.key.keyId]);
    const byRoot = ask(root, 1);
    const asIfPeer = keyRecord('quay', root.publicKey, ['command', 'receipt']);
    expect(await refusal(byRoot, asIfPeer, [])).toBe('key-unknown');
  });
});
