import { createHash, hash } from 'node:crypto';

/** Bytes of every hash in a tree. */
export const HASH_BYTES = 32;

/** The root of a tree without leaves. */
export const EMPTY_ROOT: Uint8Array = new Uint8Array(createHash('sha256').digest());

// One buffer of each kind is enough: hashing does not yield, and a log of ten million entries is hashed at each start.
const leafInput = new Uint8Array(1 + HASH_BYTES);
const nodeInput = new Uint8Array(1 + 2 * HASH_BYTES);
nodeInput[0] = 1;

/** Hash of a leaf: SHA-256(0x00 ‖ chain hash of the entry); RFC 6962, 2.1. */
export function leafHash(entry: Uint8Array): Uint8Array {
  if (entry.length !== HASH_BYTES) throw new RangeError('a leaf is a chain hash of 32 bytes');
  leafInput.set(entry, 1);
  return sha256(leafInput);
}

/** Hash of a node: SHA-256(0x01 ‖ left ‖ right); RFC 6962, 2.1. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_BYTES);
  return sha256(nodeInput);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', bytes, 'buffer'));
}

/** The largest power of two below `size`: where RFC 6962 splits a tree of `size` leaves, at least two. */
export function splitOf(size: number): number {
  let half = 1;
  while (half * 2 < size) half *= 2;
  return half;
}
