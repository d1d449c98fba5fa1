import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { keyRecord, KeyRing, loadTrust, makeKeyStatement, SigningKey, verifyKeyStatement } from '@capstan/identity';
import { Direction } from '@capstan/protocol';
import { ownerApi } from '../../test/owner-api.js';
import { until } from '../../test/processes.js';
import { TestInstance } from '../../test/test-instance.js';
import type { OwnKeyView } from './own-key.js';
import { proves } from '../../../../test/support/proves.js';

jest.setTimeout(60_000);

let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start();
});
afterAll(() => instance[Symbol.asyncDispose]());

const next = SigningKey.generate();

function statement(by: SigningKey, key = next): ReturnType<typeof makeKeyStatement> {
  const old = keyRecord('hub', instance.hub.key.publicKey, ['link', 'command', 'admit', 'lease']);
  const about = { old, key, by, hubId: 'hub', direction: Direction.HUB_TO_SPOKE };
  return makeKeyStatement({ ...about, oldUntilMs: Date.now() + 60_000 });
}

it('refuses a new key of the hub that the pinned one has not signed', async () => {
  const digest = await instance.hub.send(statement(next), 'control');
  const refusal = await until(() => instance.hub.rejected.find((each) => each.digest === digest), 'a rejection');
  expect(refusal).toMatchObject({ code: 'key-statement', retryable: false });
  expect((await loadTrust(join(instance.dir, 'trust.json'))).get(next.keyId)).toBeUndefined();
});

it(
  'has the hub’s new key pinned, by itself and by the reaper, before it acknowledges',
  proves('FED-11', async () => {
    const digest = await instance.hub.send(statement(instance.hub.key), 'control');
    await until(() => instance.hub.acknowledged.includes(digest), 'an acknowledgement');
    const pins = ['trust.json', 'reaper/hub.json'].map((file) => loadTrust(join(instance.dir, file)));
    for (const ring of await Promise.all(pins)) {
      expect(ring.get(next.keyId)).toMatchObject({ owner: 'hub', epoch: 2 });
      expect(ring.get(instance.hub.key.keyId)?.validUntil).toBeGreaterThan(Date.now());
    }
  }),
);

it(
  'refuses a second key in the place of the hub’s first, and says so in its audit log',
  proves('FED-11', async () => {
    const digest = await instance.hub.send(statement(instance.hub.key, SigningKey.generate()), 'control');
    const refusal = await until(() => instance.hub.rejected.find((each) => each.digest === digest), 'a rejection');
    expect(refusal).toMatchObject({ code: 'key-fork', retryable: false });
    const log = join(instance.dir, 'audit', 'spoke.log');
    await until(async () => (await readFile(log, 'utf8')).includes('hub.key-forked') || undefined, 'an entry');
    expect((await loadTrust(join(instance.dir, 'trust.json'))).records()).toHaveLength(2);
  }),
);

it(
  'signs and dials with its own new key once the hub has taken it, and not before',
  proves('FED-11', async () => {
    const { hub, dir } = instance;
    const before = await SigningKey.load(join(dir, 'identity.key'));
    hub.acknowledges = false;
    const asked = ownerApi<OwnKeyView>(dir, 'POST', '/key/rotate', { overlapMs: 60_000 });
    const envelope = await until(() => hub.statements[0], 'a statement');
    expect((await SigningKey.load(join(dir, 'identity.key'))).keyId).toBe(before.keyId);
    const own = new KeyRing([keyRecord('harbor', before.publicKey, ['link', 'receipt', 'command'])]);
    const about = { keys: own, hubId: 'hub', direction: Direction.SPOKE_TO_HUB, nowMs: Date.now() };
    hub.newSpokeKey = verifyKeyStatement(envelope, about).newKey;
    const { keyId } = hub.newSpokeKey;
    hub.acknowledges = true;
    // It is said again until it is answered; here by the next link, as after one that broke.
    const links = hub.links.length;
    await hub.links.at(-1)?.close('closed', 'broken');
    expect((await asked).body).toMatchObject({ keyId, epoch: 2, answer: { is: 'taken' } });
    await until(() => hub.links.slice(links).some((link) => link.peerKeyId === keyId), 'a link with the new key');
    expect((await SigningKey.load(join(dir, 'identity.key'))).keyId).toBe(keyId);
    expect((await SigningKey.load(join(dir, 'identity-old.key'))).keyId).toBe(before.keyId);
    await instance.crashSpoke();
    expect((await ownerApi<OwnKeyView>(dir, 'GET', '/key')).body).toMatchObject({ keyId, epoch: 2 });
  }),
);
