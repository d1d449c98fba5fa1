import {
  create,
  EnvelopeSchema,
  LIMITS,
  pae,
  PAYLOAD_TYPES,
  WireFault,
  type Envelope,
  type PayloadKind,
  type Signature,
} from '@capstan/protocol';
import { digestOfPae } from './envelope-digest.js';
import type { KeyPurpose, KeyRecord } from './key-record.js';
import type { KeyRing } from './key-ring.js';
import type { SigningKey } from './signing-key.js';

/** An envelope around exactly these bytes, signed by one key. */
export function signPayload(key: SigningKey, kind: PayloadKind, payload: Uint8Array): Envelope {
  const payloadType = PAYLOAD_TYPES[kind];
  const sig = key.sign(pae(payloadType, payload));
  return create(EnvelopeSchema, { payloadType, payload, signatures: [{ keyId: key.keyId, sig }] });
}

/** What a receiver demands of an envelope before it parses the payload. */
export interface Demand {
  kind: PayloadKind;
  purpose: KeyPurpose;
  keys: KeyRing;
}

export interface Verified {
  /** The pinned key whose signature holds. Its owner must be the issuer: see `checkHeader`. */
  key: KeyRecord;
  /** SHA-256 of the PAE. */
  digest: Uint8Array;
}

/**
 * Finds the signature of a pinned, unrevoked key of the demanded purpose, and verifies it over the bytes that came.
 * Signatures of other keys neither help nor harm.
 *
 * @throws {WireFault} `envelope-too-large`, `envelope-malformed`, `payload-type-unknown`, `signature-missing`, `key-unknown`,
 *   `key-revoked`, `key-purpose`, `signature-invalid`; where several signatures fail, the fault of the one that came farthest.
 */
export function verifyEnvelope(e: Envelope, want: Demand): Verified {
  checkBounds(e);
  if (e.payloadType !== PAYLOAD_TYPES[want.kind])
    throw new WireFault('payload-type-unknown', e.payloadType.slice(0, 100));
  const bytes = pae(e.payloadType, e.payload);
  let farthest: RankedFault = { rank: 0, code: 'signature-missing', keyId: '' };
  for (const signature of e.signatures) {
    const outcome = judge(signature, bytes, want);
    if (!('rank' in outcome)) return { key: outcome, digest: digestOfPae(bytes) };
    if (outcome.rank > farthest.rank) farthest = outcome;
  }
  throw new WireFault(farthest.code, farthest.keyId);
}

/** One that came inside a link message was decoded with it, so that nobody has looked at its size yet. */
function checkBounds({ payloadType, payload, signatures }: Envelope): void {
  if (signatures.length > LIMITS.signatures)
    throw new WireFault('envelope-malformed', `${String(signatures.length)} signatures`);
  const size = signatures.reduce((sum, { keyId, sig }) => sum + keyId.length + sig.length, payloadType.length);
  if (size + payload.length > LIMITS.envelopeBytes)
    throw new WireFault('envelope-too-large', `${String(size + payload.length)} bytes`);
}

interface RankedFault {
  rank: number;
  code: 'signature-missing' | 'key-unknown' | 'key-revoked' | 'key-purpose' | 'signature-invalid';
  keyId: string;
}

function judge({ keyId, sig }: Signature, bytes: Uint8Array, want: Demand): KeyRecord | RankedFault {
  const key = want.keys.get(keyId);
  if (key === undefined) return { rank: 1, code: 'key-unknown', keyId: keyId.slice(0, 80) };
  if (key.revokedAt !== undefined) return { rank: 2, code: 'key-revoked', keyId };
  if (!key.purposes.includes(want.purpose)) return { rank: 3, code: 'key-purpose', keyId };
  if (!want.keys.verify(keyId, bytes, sig)) return { rank: 4, code: 'signature-invalid', keyId };
  return key;
}
