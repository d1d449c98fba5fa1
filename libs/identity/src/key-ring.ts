import type { KeyObject } from 'node:crypto';
import { WireFault, type KeyId } from '@capstan/protocol';
import { keyIdOf } from './key-id.js';
import type { KeyPurpose, KeyRecord } from './key-record.js';
import { importPublicKey, verifyWith } from './verify-bytes.js';

interface Entry {
  record: KeyRecord;
  readonly key: KeyObject;
}

/**
 * The keys that are pinned here, by key id. Each is imported once.
 *
 * A ring with a clock is for what is said now: a key whose place another has taken is revoked in it from its
 * `validUntil` on. In one without, which is for what was kept, the key stays what it was; whoever reads the header checks
 * by `checkIssuedInTime` that it was not used afterwards.
 */
export class KeyRing {
  private readonly entries = new Map<string, Entry>();

  constructor(
    records: Iterable<KeyRecord> = [],
    private readonly nowMs?: () => number,
  ) {
    for (const record of records) this.add(record);
  }

  /**
   * Pins a key, or replaces what is known about it; a key that is revoked stays revoked, and one that is replaced replaced. Soundness of the key itself
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
    const ends = [record.validUntil, known?.record.validUntil].filter((end) => end !== undefined);
    if (ends.length > 0) kept.validUntil = Math.min(...ends);
    this.entries.set(record.keyId, { record: kept, key: known?.key ?? importPublicKey(kept.publicKey) });
  }

  get(keyId: string): KeyRecord | undefined {
    const record = this.entries.get(keyId)?.record;
    if (record?.validUntil === undefined || record.revokedAt !== undefined || this.nowMs === undefined) return record;
    return record.validUntil <= this.nowMs() ? { ...record, revokedAt: record.validUntil } : record;
  }

  /** Refuses the key from now on, for ever. False where it is not pinned. */
  revoke(keyId: KeyId, atMs: number): boolean {
    const entry = this.entries.get(keyId);
    if (entry === undefined) return false;
    entry.record = { ...entry.record, revokedAt: entry.record.revokedAt ?? atMs };
    return true;
  }

  /** As they were pinned, whatever the time. */
  records(): KeyRecord[] {
    return [...this.entries.values()].map((entry) => entry.record);
  }

  /** A ring of the same clock with this owner's keys of these purposes; undefined where none is pinned. */
  ofOwner(owner: string, purposes: readonly KeyPurpose[]): KeyRing | undefined {
    const records = this.records().filter(
      (key) => key.owner === owner && key.purposes.some((purpose) => purposes.includes(purpose)),
    );
    return records.length === 0 ? undefined : new KeyRing(records, this.nowMs);
  }

  /** A ring of the same keys for what is said now. */
  withClock(nowMs: () => number): KeyRing {
    return new KeyRing(this.records(), nowMs);
  }

  /** Whether the signature over `bytes` is that of the pinned key; says nothing of purpose or revocation. */
  verify(keyId: string, bytes: Uint8Array, signature: Uint8Array): boolean {
    const entry = this.entries.get(keyId);
    return entry !== undefined && verifyWith(entry.key, bytes, signature);
  }
}
