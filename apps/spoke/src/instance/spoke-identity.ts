import { type KeyRing, loadTrust, SigningKey } from '@capstan/identity';
import type { InstanceDir } from './instance-dir.js';
import { type InstanceFile, readInstanceFile } from './instance-file.js';

/** Who this spoke is, the key it signs with, and whom it believes. */
export class SpokeIdentity {
  constructor(
    readonly instance: InstanceFile,
    readonly key: SigningKey,
    /** The hub's keys as they were pinned when the instance joined. */
    readonly hubKeys: KeyRing,
  ) {}

  get instanceId(): string {
    return this.instance.instanceId;
  }

  get hubId(): string {
    return this.instance.hub.id;
  }
}

/** @throws LocalFault `instance-…`, `key-file-…`, `trust-file-…` */
export async function loadIdentity(dir: InstanceDir): Promise<SpokeIdentity> {
  const instance = await readInstanceFile(dir.instanceFile);
  const [key, keys] = await Promise.all([SigningKey.load(dir.identityKey), loadTrust(dir.trustFile)]);
  return new SpokeIdentity(instance, key, keys);
}
