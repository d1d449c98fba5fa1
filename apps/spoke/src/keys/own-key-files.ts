import { existsSync } from 'node:fs';
import { link, readFile, rename, rm } from 'node:fs/promises';
import { replaceFile, SigningKey, syncDirectory } from '@capstan/identity';
import {
  decodeEnvelope,
  decodeStrict,
  fromBase64,
  type KeyStatement,
  KeyStatementSchema,
  LocalFault,
} from '@capstan/protocol';
import type { InstanceDir } from '../instance/instance-dir.js';

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
    return (await this.known(keyId)) ?? firstOf(keyId);
  }

  /** The same, on disk afterwards: what is known of a key has to outlive its file. @throws LocalFault `key-record-malformed` */
  async remember(keyId: string): Promise<OwnKeyRecord> {
    const known = await this.known(keyId);
    if (known !== undefined) return known;
    const first = firstOf(keyId);
    await this.write(first);
    return first;
  }

  /** What was written last, of whichever key. @throws LocalFault `key-record-malformed` */
  last(): Promise<OwnKeyRecord | undefined> {
    return readJson<OwnKeyRecord>(this.dir.keyRecordFile);
  }

  private async known(keyId: string): Promise<OwnKeyRecord | undefined> {
    const found = await this.last();
    if (found === undefined || found.keyId === keyId) return found;
    // The record is written before the key takes its place: after a crash in between it is one statement ahead.
    const newest = found.statements.at(-1);
    if (newest === undefined || read(newest).oldKeyId !== keyId) return undefined;
    const statements = found.statements.slice(0, -1);
    const before = statements.at(-1);
    const oldUntilMs = before === undefined ? 0 : Number(read(before).oldUntilMs);
    return { version: 1, keyId, epoch: found.epoch - 1, oldUntilMs, statements };
  }

  private async write(record: OwnKeyRecord): Promise<void> {
    await replaceFile(this.dir.keyRecordFile, `${JSON.stringify(record)}\n`, 0o600);
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
    const { identityKey, nextIdentityKey, oldIdentityKey } = this.dir;
    const statements = [...before.statements.filter((known) => known !== statement), statement];
    // First: of the key before it says as much as it did.
    await this.write({ version: 1, keyId, epoch, oldUntilMs, statements });
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

function firstOf(keyId: string): OwnKeyRecord {
  return { version: 1, keyId, epoch: 1, oldUntilMs: 0, statements: [] };
}

function read(statement: string): KeyStatement {
  return decodeStrict(KeyStatementSchema, decodeEnvelope(fromBase64(statement)).payload);
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
