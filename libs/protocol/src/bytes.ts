import { base64Decode, base64Encode } from '@bufbuild/protobuf/wire';
import { WireFault } from './wire-fault.js';

/** Lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  let out = '';
  for (const byte of bytes) out += byte.toString(16).padStart(2, '0');
  return out;
}

/** Bytes of lower- or upper-case hex. @throws {WireFault} `validation` where it is not hex. */
export function fromHex(hex: string): Uint8Array {
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(hex)) throw new WireFault('validation', 'not hex');
  const out = new Uint8Array(hex.length / 2);
  for (let at = 0; at < out.length; at++) out[at] = Number.parseInt(hex.slice(at * 2, at * 2 + 2), 16);
  return out;
}

/** Standard base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  return base64Encode(bytes);
}

/**
 * Bytes of standard, padded base64. Refuses every second spelling of the same bytes, so that two different strings
 * never mean one envelope.
 *
 * @throws {WireFault} `validation`
 */
export function fromBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new WireFault('validation', 'not base64');
  const bytes = base64Decode(text);
  if (base64Encode(bytes) !== text) throw new WireFault('validation', 'base64 is not canonical');
  return bytes;
}

/** Whether both hold the same bytes. Not constant-time: for digests and public keys, not for secrets. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
