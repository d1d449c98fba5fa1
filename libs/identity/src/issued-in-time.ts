import { type Header, WireFault } from '@capstan/protocol';
import type { KeyRecord } from './key-record.js';

/**
 * A key whose place another has taken still stands for what was issued before, for ever, and for nothing after.
 *
 * @throws {WireFault} `key-revoked`
 */
export function checkIssuedInTime({ keyId, validUntil }: KeyRecord, { issuedAtMs }: Pick<Header, 'issuedAtMs'>): void {
  if (validUntil !== undefined && issuedAtMs >= BigInt(validUntil))
    throw new WireFault('key-revoked', `${keyId} was replaced`);
}

/**
 * What is said now names the epoch of the key that signs it: a header that was made under another key, or brought from
 * another enrolment, is not said now.
 *
 * @throws {WireFault} `key-revoked`
 */
export function checkKeyEpoch({ keyId, epoch }: KeyRecord, { keyEpoch }: Pick<Header, 'keyEpoch'>): void {
  if (keyEpoch !== epoch) throw new WireFault('key-revoked', `key epoch ${String(keyEpoch)} of ${keyId}`);
}
