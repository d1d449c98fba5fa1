import { createPublicKey, verify, type KeyObject } from 'node:crypto';

/** Header of a SubjectPublicKeyInfo that holds an Ed25519 key (RFC 8410); the raw key follows. */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** A raw Ed25519 public key as node:crypto wants it. Import once and keep it: it costs as much as a quarter of a verify. */
export function importPublicKey(publicKey: Uint8Array): KeyObject {
  if (publicKey.length !== 32)
    throw new RangeError(`an Ed25519 public key has 32 bytes, not ${String(publicKey.length)}`);
  return createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: 'der', type: 'spki' });
}

/** Whether `signature` is `key`'s over `bytes`. A signature whose S is not canonical is false (RFC 8032, 5.1.7). */
export function verifyWith(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  return signature.length === 64 && verify(null, bytes, key, signature);
}

/** As {@link verifyWith}, for a raw key that is used once, say at enrolment; a malformed key is false. */
export function verifyBytes(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  return publicKey.length === 32 && verifyWith(importPublicKey(publicKey), bytes, signature);
}
