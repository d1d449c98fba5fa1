import { create, type Direction, type Envelope, KeyStatementSchema, LIMITS, pae, toBinary } from '@capstan/protocol';
import { makeHeader } from '../header.js';
import type { KeyRecord } from '../key-record.js';
import { toPublicKeyRecord } from '../public-key-record.js';
import { signPayload } from '../signed-payload.js';
import type { SigningKey } from '../signing-key.js';

export interface KeyStatementInit {
  /** The key that is replaced. */
  old: Pick<KeyRecord, 'keyId' | 'owner' | 'purposes' | 'epoch'>;
  /** The key that takes its place. */
  key: SigningKey;
  /** Who agrees besides the new key: the old key, or the owner's root key where the old one is lost. */
  by: SigningKey;
  /** The hub that it is about, also where its own key is replaced. */
  hubId: string;
  direction: Direction;
  /** Until when the old key is believed for new messages, milliseconds since the epoch; at once unless told. */
  oldUntilMs?: number;
  nowMs?: number;
  /** 30 days unless told: it may wait for its receiver. */
  lifetimeMs?: number;
}

/** A statement that a key takes the place of another, with the same owner and purposes and the next epoch. */
export function makeKeyStatement(o: KeyStatementInit): Envelope {
  const nowMs = Math.floor(o.nowMs ?? Date.now());
  const { owner, purposes, epoch } = o.old;
  const header = makeHeader({
    issuer: owner,
    audience: o.hubId,
    direction: o.direction,
    keyEpoch: epoch + 1,
    lifetimeMs: o.lifetimeMs ?? LIMITS.keyStatementLifetimeMs,
    nowMs,
  });
  const newKey = toPublicKeyRecord({
    keyId: o.key.keyId,
    owner,
    publicKey: o.key.publicKey,
    purposes,
    epoch: epoch + 1,
  });
  const oldUntilMs = BigInt(Math.floor(o.oldUntilMs ?? 0));
  const statement = create(KeyStatementSchema, { header, newKey, oldKeyId: o.old.keyId, oldUntilMs });
  const envelope = signPayload(o.key, 'key-statement', toBinary(KeyStatementSchema, statement));
  const sig = o.by.sign(pae(envelope.payloadType, envelope.payload));
  return {
    ...envelope,
    signatures: [
      ...envelope.signatures,
      { ...envelope.signatures[0], $typeName: 'capstan.v1.Signature', keyId: o.by.keyId, sig },
    ],
  };
}
