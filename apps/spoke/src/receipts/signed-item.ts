import { envelopeDigest } from '@capstan/identity';
import { encodeEnvelope, type Envelope, toBase64, toHex } from '@capstan/protocol';

/** A signed envelope on its way to the hub, as the outbox keeps it. */
export interface OutboxItem {
  /** Hex of SHA-256 of the PAE; names the item. */
  digest: string;
  lane: 'kill' | 'results' | 'events';
  /** Base64 of the serialized envelope. */
  envelope: string;
}

export function outboxItem(lane: OutboxItem['lane'], envelope: Envelope): OutboxItem {
  return { digest: toHex(envelopeDigest(envelope)), lane, envelope: toBase64(encodeEnvelope(envelope)) };
}
