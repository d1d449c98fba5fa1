/** Keys, DSSE envelopes and headers, as docs/protocol.md describes them. */
import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { bytes, encode, hex, join, type Message, messages, text, utf8 } from './protobuf.ts';

export interface Key {
  id: string;
  /** Raw Ed25519, 32 bytes. */
  raw: Uint8Array;
  sign(data: Uint8Array): Uint8Array;
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(
    createHash('sha256')
      .update(join(...parts))
      .digest(),
  );
}

export function keyIdOf(raw: Uint8Array): string {
  return `k-${hex(sha256(raw)).slice(0, 32)}`;
}

export function makeKey(): Key {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = new Uint8Array(Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'));
  return { id: keyIdOf(raw), raw, sign: (data) => new Uint8Array(sign(null, data, privateKey)) };
}

export function isSignedBy(raw: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw).toString('base64url') };
  return verify(null, data, createPublicKey({ key: jwk, format: 'jwk' }), signature);
}

export function typeOf(kind: string): string {
  return `application/vnd.capstan.${kind}.v1+protobuf`;
}

export function pae(type: string, payload: Uint8Array): Uint8Array {
  const name = utf8(type);
  return join(utf8(`DSSEv1 ${name.length} `), name, utf8(` ${payload.length} `), payload);
}

/** `label(name, parts…)` of the document. */
export function label(name: string, ...parts: readonly Uint8Array[]): Uint8Array {
  return join(utf8(name), Uint8Array.of(0), ...parts.flatMap((part) => [uint32(part.length), part]));
}

export function uint32(value: number): Uint8Array {
  return new Uint8Array([value >>> 24, value >>> 16, value >>> 8, value].map((byte) => byte & 255));
}

/** A signed envelope as the message of proto/, ready to be changed by an attack. */
export function seal(kind: string, payload: Uint8Array, ...keys: readonly Key[]): Message {
  const payload_type = typeOf(kind);
  const signatures = keys.map((key) => ({ key_id: key.id, sig: key.sign(pae(payload_type, payload)) }));
  return { payload_type, payload, signatures };
}

export function digestOf(envelope: Message): Uint8Array {
  return sha256(pae(text(envelope, 'payload_type'), bytes(envelope, 'payload')));
}

export function encodeEnvelope(envelope: Message): Uint8Array {
  return encode('Envelope', envelope);
}

/** Whether one of its signatures is that of this raw key. */
export function isSealedBy(envelope: Message, raw: Uint8Array): boolean {
  const data = pae(text(envelope, 'payload_type'), bytes(envelope, 'payload'));
  return messages(envelope, 'signatures').some(
    (each) => text(each, 'key_id') === keyIdOf(raw) && isSignedBy(raw, data, bytes(each, 'sig')),
  );
}

/** A UUIDv7 (RFC 9562, 5.7) of this moment. */
export function newId(nowMs = Date.now()): string {
  const random = hex(new Uint8Array(randomBytes(10)));
  const time = nowMs.toString(16).padStart(12, '0');
  const variant = (8 + (parseInt(random[3] ?? '0', 16) & 3)).toString(16);
  const parts = [time.slice(0, 8), time.slice(8), `7${random.slice(0, 3)}`, `${variant}${random.slice(4, 7)}`];
  return [...parts, random.slice(7, 19)].join('-');
}

const LIFETIME_MS = 60_000;

/** A header of this moment, good for a minute. */
export function header(fields: Message): Message {
  const nowMs = Date.now();
  return { id: newId(), key_epoch: 1, issued_at_ms: nowMs, expires_at_ms: nowMs + LIFETIME_MS, ...fields };
}

const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

/** The same signature with S + L in place of S: mathematically the same equation, forbidden by RFC 8032. */
export function malleate(signature: Uint8Array): Uint8Array {
  const s = BigInt(`0x${hex(signature.slice(32).reverse())}`) + GROUP_ORDER;
  const big = Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse();
  return join(signature.slice(0, 32), new Uint8Array(big));
}

/** An envelope whose only signature was changed. */
export function withSignature(envelope: Message, change: (sig: Uint8Array) => Uint8Array): Message {
  const signatures = messages(envelope, 'signatures').map((each) => ({ ...each, sig: change(bytes(each, 'sig')) }));
  return { ...envelope, signatures };
}
