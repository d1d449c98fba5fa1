import { openEnvelope, type KeyRing } from '@capstan/identity';
import { decodeEnvelope, Direction, LeaseRenewalSchema, LIMITS, WireFault } from '@capstan/protocol';
import type { Renewal } from './lease.js';

/** The longest that any renewal counts, whatever it says: a week. */
const MOST_MS = 7n * 24n * 3600n * 1000n;

/**
 * What a renewal says, once it is certain that the pinned hub has signed it for this instance a moment ago.
 *
 * @param bytes a serialized Envelope.
 * @throws {WireFault} as `openEnvelope`; `payload-malformed` where it grants nothing, has no counter, or could be kept
 *   for later
 */
export function readRenewal(
  bytes: Uint8Array,
  { keys, instanceId, nowMs }: { keys: KeyRing; instanceId: string; nowMs: number },
): Renewal {
  const { payload, header } = openEnvelope(decodeEnvelope(bytes), LeaseRenewalSchema, {
    kind: 'lease',
    purpose: 'lease',
    keys,
    audience: instanceId,
    direction: Direction.HUB_TO_SPOKE,
    nowMs,
  });
  const { sessionEpoch, counter, durationMs } = payload;
  if (header.expiresAtMs - header.issuedAtMs > BigInt(LIMITS.renewalLifetimeMs))
    throw new WireFault('payload-malformed', 'a renewal that can be kept for later');
  if (counter === 0n || durationMs <= 0n) throw new WireFault('payload-malformed', 'a renewal of nothing');
  return {
    hubId: header.issuer,
    sessionEpoch,
    counter,
    durationMs: Number(durationMs < MOST_MS ? durationMs : MOST_MS),
  };
}
