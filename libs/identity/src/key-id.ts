import { createHash } from 'node:crypto';
import type { KeyId } from '@capstan/protocol';

/** `k-` and the first 32 hex digits of SHA-256 of the raw public key: 128 bits, enough that nobody finds a second key. */
export function keyIdOf(publicKey: Uint8Array): KeyId {
  return `k-${createHash('sha256').update(publicKey).digest('hex').slice(0, 32)}` as KeyId;
}
