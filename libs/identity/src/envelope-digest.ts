import { createHash } from 'node:crypto';
import { pae, type Envelope } from '@capstan/protocol';

/** SHA-256 of the PAE, 32 bytes: names an envelope's type and payload whatever signatures it carries. */
export function envelopeDigest(e: Envelope): Uint8Array<ArrayBuffer> {
  return digestOfPae(pae(e.payloadType, e.payload));
}

/** SHA-256 of a PAE that was made already. */
export function digestOfPae(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash('sha256').update(bytes).digest());
}
