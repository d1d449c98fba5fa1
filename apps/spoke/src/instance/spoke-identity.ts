import { type KeyPurpose, KeyRing, loadTrust, SigningKey } from '@capstan/identity';
import { OwnKeyFiles } from '../keys/own-key-files.js';
import type { InstanceDir } from './instance-dir.js';
import { type InstanceFile, readInstanceFile } from './instance-file.js';

/** What hubs let an instance's identity key do. */
export const INSTANCE_PURPOSES: readonly KeyPurpose[] = ['link', 'receipt', 'command'];

/** Who this spoke is, the key it signs with, and whom it believes. */
export class SpokeIdentity {
  private own: { key: SigningKey; epoch: number };

  constructor(
    readonly instance: InstanceFile,
    key: SigningKey,
    /** The hub's keys: the one that was pinned when the instance joined, and those that came after it. */
    readonly hubKeys: KeyRing,
    epoch = 1,
  ) {
    this.own = { key, epoch };
  }

  /** May be another one later: ask each time. */
  get key(): SigningKey {
    return this.own.key;
  }

  get keyEpoch(): number {
    return this.own.epoch;
  }

  get instanceId(): string {
    return this.instance.instanceId;
  }

  get hubId(): string {
    return this.instance.hub.id;
  }

  replaceKey(key: SigningKey, epoch: number): void {
    this.own = { key, epoch };
  }

  /** @throws LocalFault `key-file-…` */
  keyOnDisk(dir: InstanceDir): Promise<SigningKey> {
    return SigningKey.load(dir.identityKey);
  }
}

/** @throws LocalFault `instance-…`, `key-file-…`, `trust-file-…` */
export async function loadIdentity(dir: InstanceDir, nowMs: () => number): Promise<SpokeIdentity> {
  const instance = await readInstanceFile(dir.instanceFile);
  const [key, keys] = await Promise.all([SigningKey.load(dir.identityKey), loadTrust(dir.trustFile)]);
  const { epoch } = await new OwnKeyFiles(dir).record(key.keyId);
  return new SpokeIdentity(instance, key, new KeyRing(keys.records(), nowMs), epoch);
}
