import { encodeEnvelope, type Envelope } from '@capstan/protocol';

const known = new WeakMap<Envelope, string>();

/** Base64 of an envelope as it travels; made once, since the row, the answer and the next reader want the same. */
export function envelopeText(envelope: Envelope): string {
  const text = known.get(envelope) ?? Buffer.from(encodeEnvelope(envelope)).toString('base64');
  known.set(envelope, text);
  return text;
}
