import { fromHex, isId, keyId, LocalFault, toHex, type KeyId } from '@capstan/protocol';
import { keyIdOf } from './key-id.js';

/**
 * What a key may be used for. `link`: handshakes. `command`: orders. `admit`: admission of others' orders. `receipt`:
 * answers. `lease`: renewals. `observe`: observed deaths.
 */
export const KEY_PURPOSES = ['link', 'command', 'admit', 'receipt', 'lease', 'observe'] as const;
export type KeyPurpose = (typeof KEY_PURPOSES)[number];

/** A pinned key: algorithm (always Ed25519), owner and purposes come from here, never from a message. */
export interface KeyRecord {
  keyId: KeyId;
  /** Id of the hub, instance or operator whose key it is; a reaper's key is owned by its instance. */
  owner: string;
  /** Raw Ed25519, 32 bytes. */
  publicKey: Uint8Array;
  purposes: readonly KeyPurpose[];
  epoch: number;
  /** Milliseconds since the epoch. A revoked key is refused whatever the message says about time. */
  revokedAt?: number;
}

export interface KeyRecordJson {
  keyId: string;
  owner: string;
  /** Hex. */
  publicKey: string;
  purposes: KeyPurpose[];
  epoch: number;
  revokedAt?: number;
}

/** A record of a key as it is pinned first: epoch 1, not revoked. */
export function keyRecord(owner: string, publicKey: Uint8Array, purposes: readonly KeyPurpose[]): KeyRecord {
  return { keyId: keyIdOf(publicKey), owner, publicKey, purposes, epoch: 1 };
}

export function keyRecordToJson(record: KeyRecord): KeyRecordJson {
  return {
    keyId: record.keyId,
    owner: record.owner,
    publicKey: toHex(record.publicKey),
    purposes: [...record.purposes],
    epoch: record.epoch,
    ...(record.revokedAt === undefined ? {} : { revokedAt: record.revokedAt }),
  };
}

/** A record from a file or a database. @throws {LocalFault} `key-record-malformed` */
export function keyRecordFromJson(json: unknown): KeyRecord {
  try {
    return parseRecord(json as Partial<Record<keyof KeyRecordJson, unknown>>);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new LocalFault('key-record-malformed', 'A key record cannot be read.', why, { cause: error });
  }
}

function parseRecord(json: Partial<Record<keyof KeyRecordJson, unknown>>): KeyRecord {
  const { owner, purposes, epoch, revokedAt } = json;
  if (typeof owner !== 'string' || !isId(owner)) throw new TypeError('owner is not an id');
  if (typeof json.publicKey !== 'string') throw new TypeError('publicKey is not hex');
  if (!Array.isArray(purposes) || !purposes.every(isKeyPurpose)) throw new TypeError('purposes are not known');
  if (!Number.isSafeInteger(epoch) || (epoch as number) < 0) throw new TypeError('epoch is not a number');
  if (revokedAt !== undefined && !Number.isSafeInteger(revokedAt)) throw new TypeError('revokedAt is not a time');
  const publicKey = fromHex(json.publicKey);
  if (publicKey.length !== 32 || keyId(String(json.keyId)) !== keyIdOf(publicKey)) {
    throw new TypeError('keyId is not that of publicKey');
  }
  const record: KeyRecord = { keyId: keyIdOf(publicKey), owner, publicKey, purposes, epoch: epoch as number };
  return revokedAt === undefined ? record : { ...record, revokedAt: revokedAt as number };
}

function isKeyPurpose(value: unknown): value is KeyPurpose {
  return KEY_PURPOSES.some((purpose) => purpose === value);
}
