import { create, keyId, PublicKeyRecordSchema, WireFault, type PublicKeyRecord } from '@capstan/protocol';
import { checkPublicKey } from './key-check.js';
import { keyIdOf } from './key-id.js';
import { KEY_PURPOSES, type KeyPurpose, type KeyRecord } from './key-record.js';

/** A pinned key as it travels. */
export function toPublicKeyRecord({ keyId: id, owner, publicKey, purposes, epoch }: KeyRecord): PublicKeyRecord {
  return create(PublicKeyRecordSchema, { keyId: id, owner, publicKey, purposes: [...purposes], epoch });
}

/**
 * A key that somebody else vouches for, checked as one that is enrolled; of its purposes only those in `purposes` count.
 *
 * @throws {WireFault} `key-unknown` (its id is not that of the key), `key-weak`, `id-malformed`
 */
export function fromPublicKeyRecord(record: PublicKeyRecord, purposes: readonly KeyPurpose[]): KeyRecord {
  checkPublicKey(record.publicKey);
  const id = keyId(record.keyId);
  if (id !== keyIdOf(record.publicKey)) throw new WireFault('key-unknown', `key id ${id} is not that of its key`);
  const told = KEY_PURPOSES.filter((purpose) => record.purposes.includes(purpose));
  return {
    keyId: id,
    owner: record.owner,
    publicKey: Uint8Array.from(record.publicKey),
    purposes: told.filter((purpose) => purposes.includes(purpose)),
    epoch: record.epoch,
  };
}
