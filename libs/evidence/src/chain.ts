import { createHash } from 'node:crypto';

/** What the first record is chained to: SHA-256 of a sentence that is nothing else. 32 bytes. */
export const GENESIS: Uint8Array = new Uint8Array(createHash('sha256').update('capstan.v1.audit genesis').digest());

/** Hash of a record: SHA-256 of the hash before it and of the record's exact bytes. 32 bytes. */
export function chainHash(prev: Uint8Array, record: Uint8Array): Uint8Array {
  if (prev.length !== 32) throw new RangeError('a chain hash has 32 bytes');
  return new Uint8Array(createHash('sha256').update(prev).update(record).digest());
}
