import { fromHex, isId, keyId, LocalFault, toHex, type KeyId } from '@capstan/protocol';
import { keyIdOf } from './key-id.js';

/**
 * What a key may be used for. `link`: handshakes. `command`: orders. `admit`: admission of others' orders. `receipt`:
 * answers. `lease`: renewals. `observe`: observed deaths. `grant`: delegation of what the owner may order. `root`: puts
 * another key in the place of one of the owner's that is lost, and nothing else; it is never replaced itself.
 */
export const KEY_PURPOSES = ['link', 'command', 'admit', 'receipt', 'lease', 'observe', 'grant', 'root'] as const;
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
  /** Milliseconds since the epoch: another key has taken its place, and what is issued from then on is not believed. */
  validUntil?: number;
}

export interface KeyRecordJson {
  keyId: string;
  owner: string;
  /** Hex. */
  publicKey: string;
  purposes: KeyPurpose[];
  epoch: number;
  revokedAt?: number;
  validUntil?: number;
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
    ...(record.validUntil === undefined ? {} : { validUntil: record.validUntil }),
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
  const { owner, purposes, epoch, revokedAt, validUntil } = json;
  if (typeof owner !== 'string' || !isId(owner)) throw new TypeError('owner is not an id');
  if (typeof json.publicKey !== 'string') throw new TypeError('publicKey is not hex');
  if (!Array.isArray(purposes) || !purposes.every(isKeyPurpose)) throw new TypeError('purposes are not known');
  if (!Number.isSafeInteger(epoch) || (epoch as number) < 0) throw new TypeError('epoch is not a number');
  for (const [name, time] of Object.entries({ revokedAt, validUntil })) {
    if (time !== undefined && !Number.isSafeInteger(time)) throw new TypeError(`${name} is not a time`);
  }
  const publicKey = fromHex(json.publicKey);
  if (publicKey.length !== 32 || keyId(String(json.keyId)) !== keyIdOf(publicKey)) {
    throw new TypeError('keyId is not that of publicKey');
  }
  const record: KeyRecord = { keyId: keyIdOf(publicKey), owner, publicKey, purposes, epoch: epoch as number };
  if (revokedAt !== undefined) record.revokedAt = revokedAt as number;
  if (validUntil !== undefined) record.validUntil = validUntil as number;
  return record;
}

function isKeyPurpose(value: unknown): value is KeyPurpose {
  return KEY_PURPOSES.some((purpose) => purpose === value);
}
