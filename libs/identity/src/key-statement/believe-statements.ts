import { decodeStrict, Direction, type Envelope, KeyStatementSchema, WireFault } from '@capstan/protocol';
import type { KeyRecord } from '../key-record.js';
import { KeyRing } from '../key-ring.js';
import { verifyKeyStatement } from './verify-key-statement.js';

/**
 * The pinned keys, and those that came after them by statements that hold: for what is verified long after. Statements
 * may come in any order; one whose key nobody has pinned adds nothing.
 *
 * Only a statement of the old key itself is followed: a root key is pinned at hubs, not with keys.
 *
 * @throws {WireFault} as `verifyKeyStatement`, for a statement about a pinned key that does not hold
 */
export function believeStatements(pinned: KeyRing, statements: readonly Envelope[]): KeyRing {
  const ring = new KeyRing(pinned.records());
  let open = [...statements];
  for (;;) {
    const left = open.filter((statement) => !follow(ring, statement));
    if (left.length === open.length) return ring;
    open = left;
  }
}

/** False where its old key is not known (yet). */
function follow(ring: KeyRing, statement: Envelope): boolean {
  try {
    const { newKey, oldKey } = verified(ring, statement);
    pinSuccessor(ring, newKey, oldKey);
    return true;
  } catch (error) {
    if (error instanceof WireFault && error.code === 'key-unknown') return false;
    throw error;
  }
}

/** Which hub it is about, its signatures alone say: whoever keeps it has pinned the key, not the hub. */
function verified(keys: KeyRing, statement: Envelope): { newKey: KeyRecord; oldKey: KeyRecord } {
  const { issuer = '', audience: hubId = '' } = decodeStrict(KeyStatementSchema, statement.payload).header ?? {};
  const direction = issuer === hubId ? Direction.HUB_TO_SPOKE : Direction.SPOKE_TO_HUB;
  return verifyKeyStatement(statement, { keys, hubId, direction, nowMs: 0, expiry: 'exempt' });
}

/** Pins the new key and ends the old one. */
export function pinSuccessor(ring: KeyRing, newKey: KeyRecord, oldKey: KeyRecord): void {
  ring.add(oldKey);
  ring.add(newKey);
}
