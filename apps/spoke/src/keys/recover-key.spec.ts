import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { keyRecord, KeyRing, makeKeyStatement, SigningKey, verifyKeyStatement } from '@capstan/identity';
import { decodeEnvelope, Direction, encodeEnvelope, fromBase64, toBase64 } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { InstanceDir } from '../instance/instance-dir.js';
import { writeInstanceFile } from '../instance/instance-file.js';
import { INSTANCE_PURPOSES } from '../instance/spoke-identity.js';
import { OwnKeyFiles, type PendingKey } from './own-key-files.js';
import { recoverKey } from './recover-key.js';

let dir: InstanceDir;
let files: OwnKeyFiles;
let first: SigningKey;
let hub: Server;
/** Statements that reached the hub. */
let posted: string[];

beforeEach(async () => {
  dir = new InstanceDir(await mkdtemp(join(tmpdir(), 'capstan-keys-')));
  files = new OwnKeyFiles(dir);
  first = await SigningKey.create(dir.identityKey);
  posted = [];
  hub = createServer((request, response) => {
    void text(request).then((body) => {
      posted.push((JSON.parse(body) as { statement: string }).statement);
      response.end('{}');
    });
  });
  hub.listen(0, '127.0.0.1');
  await once(hub, 'listening');
  const url = `http://127.0.0.1:${String((hub.address() as AddressInfo).port)}`;
  const instance = { instanceId: 'harbor', displayName: 'harbor', hub: { id: 'hub', url }, connectionId: 'c' };
  await writeInstanceFile(dir.instanceFile, { version: 1, ...instance });
});
afterEach(async () => {
  hub.close();
  hub.closeAllConnections();
  await rm(dir.root, { recursive: true });
});

/** A rotation as far as the hub's answer. */
async function stated(by: SigningKey, epoch: number): Promise<{ pending: PendingKey; key: SigningKey }> {
  const key = await files.next();
  const old = { keyId: by.keyId, owner: 'harbor', purposes: INSTANCE_PURPOSES, epoch };
  const oldUntilMs = Date.now() + 60_000;
  const about = { old, key, by, hubId: 'hub', direction: Direction.SPOKE_TO_HUB, oldUntilMs };
  const statement = toBase64(encodeEnvelope(makeKeyStatement(about)));
  const pending: PendingKey = { version: 1, keyId: key.keyId, epoch: epoch + 1, oldUntilMs, statement };
  await files.keep(pending);
  return { pending, key };
}

async function rotate(by: SigningKey, epoch: number): Promise<SigningKey> {
  const { pending } = await stated(by, epoch);
  return files.adopt(pending, await files.record(by.keyId));
}

describe('an identity key', () => {
  it(
    'whose file is gone is replaced by the root key all the same',
    proves('FED-11', async () => {
      await files.remember(first.keyId);
      const second = await rotate(first, 1);
      const rootKeyFile = join(dir.root, 'wharf.root');
      const root = await SigningKey.create(rootKeyFile);
      await rm(dir.identityKey);
      const recovered = await recoverKey({ dir: dir.root, rootKeyFile });
      expect(recovered).toMatchObject({ instanceId: 'harbor', epoch: 3 });
      expect((await SigningKey.load(dir.identityKey)).keyId).toBe(recovered.keyId);
      const lost = { ...keyRecord('harbor', second.publicKey, INSTANCE_PURPOSES), epoch: 2 };
      const verified = verifyKeyStatement(decodeEnvelope(fromBase64(posted[0] ?? '')), {
        keys: new KeyRing([lost]),
        hubId: 'hub',
        direction: Direction.SPOKE_TO_HUB,
        rootKey: root.publicKey,
        nowMs: Date.now(),
      });
      expect(verified).toMatchObject({ by: 'root-key', newKey: { keyId: recovered.keyId, epoch: 3 } });
      expect((await files.record(recovered.keyId)).statements).toHaveLength(2);
    }),
  );

  it('of which nothing at all is known is not replaced, and nothing is sent', async () => {
    const rootKeyFile = join(dir.root, 'wharf.root');
    await SigningKey.create(rootKeyFile);
    await rm(dir.identityKey);
    await expect(recoverKey({ dir: dir.root, rootKeyFile })).rejects.toMatchObject({ code: 'key-record-missing' });
    expect(posted).toEqual([]);
    expect(existsSync(dir.keyPendingFile)).toBe(false);
  });

  it('keeps its epoch and its history where a crash left the record ahead of it', async () => {
    const second = await rotate(first, 1);
    const before = await files.record(second.keyId);
    const { pending, key } = await stated(second, 2);
    await files.adopt(pending, before);
    // As between the record and the rename: the record names the third key, the file holds the second.
    await rename(dir.identityKey, dir.nextIdentityKey);
    await rename(dir.oldIdentityKey, dir.identityKey);
    await files.keep(pending);
    expect(await files.record(second.keyId)).toEqual(before);
    expect(await files.remember(second.keyId)).toEqual(before);
    await files.adopt(pending, await files.record(second.keyId));
    const record = await files.record(key.keyId);
    expect(record.epoch).toBe(3);
    expect(record.statements).toEqual([...before.statements, pending.statement]);
  });

  it('that is strange to the record begins anew', async () => {
    await rotate(first, 1);
    const { keyId } = SigningKey.generate();
    expect(await files.remember(keyId)).toMatchObject({ keyId, epoch: 1, statements: [] });
    expect(await files.last()).toMatchObject({ keyId });
  });
});
