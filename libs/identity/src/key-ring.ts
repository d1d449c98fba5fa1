import type { KeyObject } from 'node:crypto';
import { WireFault, type KeyId } from '@capstan/protocol';
import { keyIdOf } from './key-id.js';
import type { KeyRecord } from './key-record.js';
import { importPublicKey, verifyWith } from './verify-bytes.js';

interface Entry {
  record: KeyRecord;
  readonly key: KeyObject;
}

/** The keys that are pinned here, by key id. Each is imported once. */
export class KeyRing {
  private readonly entries = new Map<string, Entry>();

  constructor(records: Iterable<KeyRecord> = []) {
    for (const record of records) this.add(record);
  }

  /**
   * Pins a key, or replaces what is known about it; a key that is revoked stays revoked. Soundness of the key itself
   * is checked where it is enrolled, by `checkPublicKey`.
   *
   * @throws {WireFault} `key-unknown` where the key id is not that of the public key
   */
  add(record: KeyRecord): void {
    if (record.publicKey.length !== 32 || record.keyId !== keyIdOf(record.publicKey)) {
      throw new WireFault('key-unknown', `key id ${record.keyId} is not that of its key`);
    }
    const known = this.entries.get(record.keyId);
    const revokedAt = record.revokedAt ?? known?.record.revokedAt;
    const kept: KeyRecord = { ...record, publicKey: Uint8Array.from(record.publicKey), purposes: [...record.purposes] };
    if (revokedAt !== undefined) kept.revokedAt = revokedAt;
    this.entries.set(record.keyId, { record: kept, key: known?.key ?? importPublicKey(kept.publicKey) });
  }

  get(keyId: string): KeyRecord | undefined {
    return this.entries.get(keyId)?.record;
  }

  /** Refuses the key from now on, for ever. False where it is not pinned. */
  revoke(keyId: KeyId, atMs: number): boolean {
    const entry = this.entries.get(keyId);
    if (entry === undefined) return false;
    entry.record = { ...entry.record, revokedAt: entry.record.revokedAt ?? atMs };
    return true;
  }

  records(): KeyRecord[] {
    return [...this.entries.values()].map((entry) => entry.record);
  }

  /** Whether the signature over `bytes` is that of the pinned key; says nothing of purpose or revocation. */
  verify(keyId: string, bytes: Uint8Array, signature: Uint8Array): boolean {
    const entry = this.entries.get(keyId);
    return entry !== undefined && verifyWith(entry.key, bytes, signature);
  }
}
