import { randomBytes } from 'node:crypto';
import { bytes, int, type Message, message, text, utf8 } from './protobuf.ts';
import { isSignedBy, type Key, label, uint32 } from './signed.ts';

export function nonce(): Uint8Array {
  return new Uint8Array(randomBytes(32));
}

/** What the hub signs. @param tls the exporter, where TLS ends at the hub */
export function hubTranscript(hello: Uint8Array, challenge: Message, tls?: Uint8Array): Uint8Array {
  const ids = [utf8(text(challenge, 'hub_id')), utf8(text(challenge, 'key_id'))];
  const version = uint32(Number(int(challenge, 'version')) || Number(challenge['version'] ?? 0));
  const bound = tls === undefined ? [] : [tls];
  return label('capstan.v1.hub-hello', hello, ...ids, bytes(challenge, 'nonce'), version, ...bound);
}

/** What the spoke signs. */
export function spokeTranscript(hello: Uint8Array, challenge: Uint8Array, tls?: Uint8Array): Uint8Array {
  return label('capstan.v1.spoke-proof', hello, challenge, ...(tls === undefined ? [] : [tls]));
}

/** A Challenge over a Hello. */
export function challengeOf(hello: Uint8Array, hubId: string, key: Key, change: Message = {}): Message {
  const unsigned = { hub_id: hubId, key_id: key.id, nonce: nonce(), version: 1, ...change };
  return { ...unsigned, signature: key.sign(hubTranscript(hello, unsigned)), ...pick(change, 'signature') };
}

/** @throws Error where the hub's signature does not hold */
export function checkChallenge(hello: Uint8Array, frame: Message, hubKey: Uint8Array, tls?: Uint8Array): void {
  const challenge = message(frame, 'challenge');
  if (!isSignedBy(hubKey, hubTranscript(hello, challenge, tls), bytes(challenge, 'signature')))
    throw new Error('the Challenge is not signed by the hub that was pinned');
}

function pick(from: Message, field: string): Message {
  return from[field] === undefined ? {} : { [field]: from[field] };
}
