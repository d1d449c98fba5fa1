import { existsSync } from 'node:fs';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { SigningKey } from '@capstan/identity';
import { LocalFault } from '@capstan/protocol';
import type { InstanceDir } from '../instance/instance-dir.js';
import { replaceFile } from '../instance/replace-file.js';

/** A statement that the hub has not answered yet. */
export interface PendingKey {
  version: 1;
  keyId: string;
  epoch: number;
  /** Until when the old key is believed, milliseconds since the epoch. */
  oldUntilMs: number;
  /** Base64. */
  statement: string;
}

/** Which of the instance's keys is in `identity.key`, and what led there. */
export interface OwnKeyRecord {
  version: 1;
  keyId: string;
  epoch: number;
  /** Until when the key before is believed and kept; 0 where there is none. */
  oldUntilMs: number;
  /** Base64 of the statements, oldest first. */
  statements: string[];
}

/** The identity key on disk, beside it the one that takes its place and, while it is believed, the one before. */
export class OwnKeyFiles {
  constructor(private readonly dir: InstanceDir) {}

  /** Of the key in `identity.key`: its first one where nothing else was written. @throws LocalFault `key-record-malformed` */
  async record(keyId: string): Promise<OwnKeyRecord> {
    const found = await readJson<OwnKeyRecord>(this.dir.keyRecordFile);
    if (found?.keyId === keyId) return found;
    return { version: 1, keyId, epoch: 1, oldUntilMs: 0, statements: [] };
  }

  pending(): Promise<PendingKey | undefined> {
    return readJson<PendingKey>(this.dir.keyPendingFile);
  }

  /** The key that is to take the place of the present one; made where there is none. */
  next(): Promise<SigningKey> {
    return SigningKey.loadOrCreate(this.dir.nextIdentityKey);
  }

  async keep(pending: PendingKey): Promise<void> {
    await replaceFile(this.dir.keyPendingFile, `${JSON.stringify(pending)}\n`, 0o600);
  }

  /** The hub will not have the new key: nothing of it stays. */
  async discard(): Promise<void> {
    await rm(this.dir.keyPendingFile, { force: true });
    await rm(this.dir.nextIdentityKey, { force: true });
  }

  /** Puts the new key in the place of the old one. May be repeated after a crash at any step. */
  async adopt({ keyId, epoch, oldUntilMs, statement }: PendingKey, before: OwnKeyRecord): Promise<SigningKey> {
    const { identityKey, nextIdentityKey, oldIdentityKey, keyRecordFile } = this.dir;
    const statements = [...before.statements.filter((known) => known !== statement), statement];
    // First: what it says of another key than the one in `identity.key` counts for nothing.
    const record: OwnKeyRecord = { version: 1, keyId, epoch, oldUntilMs, statements };
    await replaceFile(keyRecordFile, `${JSON.stringify(record)}\n`, 0o600);
    if (existsSync(nextIdentityKey)) {
      await rm(oldIdentityKey, { force: true });
      if (existsSync(identityKey)) await link(identityKey, oldIdentityKey);
      await rename(nextIdentityKey, identityKey);
      await syncDirectory(this.dir.root);
    }
    await rm(this.dir.keyPendingFile, { force: true });
    return SigningKey.load(identityKey);
  }

  async forgetOld(): Promise<void> {
    await rm(this.dir.oldIdentityKey, { force: true });
  }
}

async function readJson<T extends { version: 1 }>(file: string): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const json = JSON.parse(text) as T;
    if (json.version === 1) return json;
  } catch (cause) {
    throw new LocalFault('key-record-malformed', 'What is known of the instance’s key cannot be read.', file, {
      cause,
    });
  }
  throw new LocalFault('key-record-malformed', 'What is known of the instance’s key cannot be read.', file);
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, 'r');
  await handle.sync();
}
