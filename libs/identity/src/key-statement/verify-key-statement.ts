import {
  bytesEqual,
  decodeStrict,
  type Direction,
  type Envelope,
  type Header,
  keyId,
  type KeyStatement,
  KeyStatementSchema,
  LIMITS,
  pae,
  PAYLOAD_TYPES,
  type PublicKeyRecord,
  WireFault,
} from '@capstan/protocol';
import { digestOfPae } from '../envelope-digest.js';
import { checkHeader } from '../header.js';
import { keyIdOf } from '../key-id.js';
import type { KeyPurpose, KeyRecord } from '../key-record.js';
import type { KeyRing } from '../key-ring.js';
import { fromPublicKeyRecord } from '../public-key-record.js';
import { verifyBytes } from '../verify-bytes.js';

export interface KeyStatementDemand {
  /** Pinned keys; only one of these can be replaced. */
  keys: KeyRing;
  /** The hub that it must be about. */
  hubId: string;
  direction: Direction;
  /** Raw Ed25519 of the owner's root key, where one is pinned. */
  rootKey?: Uint8Array | null;
  /** Of the statement's purposes only these count: for whoever pins less than the whole key. */
  purposes?: readonly KeyPurpose[];
  nowMs: number;
  /** `exempt` for what is verified long after. */
  expiry?: 'checked' | 'exempt';
}

export interface VerifiedKeyStatement {
  newKey: KeyRecord;
  /** The key that is replaced, as it stands from now on: until a time, or, where the root key spoke, revoked. */
  oldKey: KeyRecord;
  /** Who agreed besides the new key. */
  by: 'old-key' | 'root-key';
  digest: Uint8Array;
}

/**
 * Verifies that a pinned key is replaced by another: signed by the new key and by the old one, or by the pinned root key
 * of its owner, with the same owner, the same purposes and the next epoch.
 *
 * With the old key's signature, a key that is revoked, or was replaced already, can be replaced no more; the root key
 * also replaces a key that is lost, and revokes it at once. No statement brings a key back that was replaced itself.
 *
 * @throws {WireFault} `payload-type-unknown`, `unknown-field`, `payload-malformed`, `key-weak`, `key-unknown`,
 *   `key-revoked`, those of `checkHeader`; `key-fork` where the old key has signed for one key and now signs for another;
 *   and `key-statement` for everything else
 */
export function verifyKeyStatement(envelope: Envelope, want: KeyStatementDemand): VerifiedKeyStatement {
  if (envelope.payloadType !== PAYLOAD_TYPES['key-statement'])
    throw new WireFault('payload-type-unknown', envelope.payloadType.slice(0, 100));
  // It brings its own new key, so it is read before that can verify it; nothing of it is used until both have.
  const statement = decodeStrict(KeyStatementSchema, envelope.payload);
  const old = want.keys.get(keyId(statement.oldKeyId));
  if (old === undefined) throw new WireFault('key-unknown', statement.oldKeyId);
  const newKey = successor(statement.newKey, old, want.purposes);
  const known = want.keys.get(newKey.keyId);
  const signed = pae(envelope.payloadType, envelope.payload);
  const isSignedBy = (publicKey: Uint8Array): boolean =>
    envelope.signatures.some(({ keyId: id, sig }) => id === keyIdOf(publicKey) && verifyBytes(publicKey, signed, sig));
  if (!isSignedBy(newKey.publicKey)) throw new WireFault('key-statement', 'not signed by the new key');
  const by = isSignedBy(old.publicKey) ? 'old-key' : 'root-key';
  if (by === 'root-key') checkRoot(want.rootKey ?? null, newKey, isSignedBy);
  else checkReplaceable(old, known);
  checkNew(known, newKey);
  const header = checkedHeader(statement, old, want);
  return { newKey, oldKey: ended(old, by, statement, header), by, digest: digestOfPae(signed) };
}

function successor(told: PublicKeyRecord | undefined, old: KeyRecord, only?: readonly KeyPurpose[]): KeyRecord {
  if (told === undefined) throw new WireFault('key-statement', 'no new key');
  const newKey = fromPublicKeyRecord(told, only ?? (told.purposes as KeyPurpose[]));
  if (newKey.owner !== old.owner) throw new WireFault('key-statement', `for ${newKey.owner}, not ${old.owner}`);
  if (old.purposes.includes('root')) throw new WireFault('key-statement', 'a root key is not replaced');
  if (bytesEqual(newKey.publicKey, old.publicKey)) throw new WireFault('key-statement', 'the same key');
  if (newKey.epoch !== old.epoch + 1) throw new WireFault('key-statement', `epoch ${String(newKey.epoch)}`);
  const hasAll = old.purposes.every((purpose) => newKey.purposes.includes(purpose));
  const isWhole = only !== undefined || told.purposes.length === old.purposes.length;
  if (!hasAll || !isWhole || newKey.purposes.length !== old.purposes.length)
    throw new WireFault('key-statement', `purposes ${told.purposes.join(' ').slice(0, 100)}`);
  return { ...newKey, purposes: old.purposes };
}

function checkReplaceable(old: KeyRecord, known: KeyRecord | undefined): void {
  if (old.validUntil !== undefined) {
    if (known === undefined) throw new WireFault('key-fork', `${old.keyId} has signed for another key before`);
    throw new WireFault('key-statement', `${old.keyId} was replaced already`);
  }
  if (old.revokedAt !== undefined) throw new WireFault('key-revoked', old.keyId);
}

/** A key that is pinned already may be named again, but not where it is somebody else's, or its own time is over. */
function checkNew(known: KeyRecord | undefined, { keyId: id, owner }: KeyRecord): void {
  if (known === undefined) return;
  if (known.owner !== owner) throw new WireFault('key-statement', `${id} is pinned for ${known.owner}`);
  if (known.validUntil !== undefined || known.revokedAt !== undefined)
    throw new WireFault('key-statement', `${id} was replaced before`);
}

function checkRoot(root: Uint8Array | null, newKey: KeyRecord, isSignedBy: (key: Uint8Array) => boolean): void {
  if (root === null) throw new WireFault('key-statement', 'not signed by the old key, and no root key is pinned');
  if (!isSignedBy(root)) throw new WireFault('key-statement', 'signed by neither old key nor root key');
  if (bytesEqual(root, newKey.publicKey)) throw new WireFault('key-statement', 'the root key itself');
}

function checkedHeader({ header, oldUntilMs }: KeyStatement, old: KeyRecord, want: KeyStatementDemand): Header {
  const checked = checkHeader(header, {
    issuer: old.owner,
    audience: want.hubId,
    direction: want.direction,
    nowMs: want.nowMs,
    ...(want.expiry === undefined ? {} : { expiry: want.expiry }),
  });
  const overlap = oldUntilMs - checked.issuedAtMs;
  if (oldUntilMs !== 0n && (overlap < 0n || overlap > BigInt(LIMITS.keyOverlapMs)))
    throw new WireFault('key-statement', `overlap of ${String(overlap)} ms`);
  return checked;
}

function ended(
  old: KeyRecord,
  by: VerifiedKeyStatement['by'],
  { oldUntilMs }: KeyStatement,
  { issuedAtMs }: Header,
): KeyRecord {
  const endsAt = Number(by === 'root-key' || oldUntilMs === 0n ? issuedAtMs : oldUntilMs);
  const record: KeyRecord = { ...old, validUntil: Math.min(endsAt, old.validUntil ?? endsAt) };
  return by === 'root-key' ? { ...record, revokedAt: old.revokedAt ?? endsAt } : record;
}
