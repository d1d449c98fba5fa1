import { checkPublicKey, handshakePae, keyRecord, KeyRing, openEnvelope, verifyBytes } from '@capstan/identity';
import { VERSIONS } from '@capstan/link';
import {
  bytesEqual,
  decodeStrict,
  Direction,
  type Enrollment,
  EnrollmentSchema,
  type Envelope,
  instanceId as parseInstanceId,
  PAYLOAD_TYPES,
  stripControl,
  WireFault,
} from '@capstan/protocol';

const MOST_NAME = 120;
const MOST_CAPABILITIES = 32;

/** What a spoke has proven about itself. */
export interface ProvenEnrollment {
  instanceId: string;
  displayName: string;
  identityKey: Uint8Array;
  reaperKey: Uint8Array;
  /** Raw X25519; null where it takes no secrets. */
  sealingKey: Uint8Array | null;
  /** Raw Ed25519 of the owner's offline root key; null where he has none. */
  rootKey: Uint8Array | null;
  capabilities: string[];
  /** SHA-256 of the statement's PAE. */
  digest: Uint8Array;
  /** By the instance's own clock: what its owner wished before belongs to an earlier connection. */
  signedAt: Date;
}

/**
 * Verifies an enrolment statement: sound keys, possession of both, made for this hub, now, and for this token.
 *
 * The statement brings its own key, so it is read before that key can verify it; nothing else in it is used until it
 * has.
 *
 * @throws WireFault `payload-type-unknown`, `key-weak`, `signature-invalid`, `enrollment-mismatch`, `wrong-audience`, `expired`, …
 */
export function proveEnrollment(
  envelope: Envelope,
  hubId: string,
  tokenDigest: Uint8Array,
  nowMs: number,
): ProvenEnrollment {
  if (envelope.payloadType !== PAYLOAD_TYPES.enrollment)
    throw new WireFault('payload-type-unknown', 'not an enrollment');
  const claimed = decodeStrict(EnrollmentSchema, envelope.payload);
  const instanceId = parseInstanceId(claimed.instanceId);
  checkPublicKey(claimed.identityKey);
  const keys = new KeyRing([keyRecord(instanceId, claimed.identityKey, ['link'])]);
  const { payload, digest, header } = openEnvelope(envelope, EnrollmentSchema, {
    kind: 'enrollment',
    purpose: 'link',
    keys,
    audience: hubId,
    direction: Direction.SPOKE_TO_HUB,
    nowMs,
  });
  checkReaper(payload);
  if (![0, 32].includes(payload.sealingKey.length)) throw new WireFault('payload-malformed', 'sealing key');
  if (!bytesEqual(payload.tokenDigest, tokenDigest))
    throw new WireFault('enrollment-mismatch', 'made for another token');
  if (!payload.versions.some((version) => VERSIONS.includes(version)))
    throw new WireFault('handshake-version', `speaks ${payload.versions.join(', ')}`);
  if (payload.capabilities.length > MOST_CAPABILITIES || !payload.capabilities.every(isCapability)) {
    throw new WireFault('payload-malformed', 'capabilities');
  }
  return {
    instanceId,
    displayName: stripControl(payload.displayName).trim().slice(0, MOST_NAME) || instanceId,
    identityKey: payload.identityKey,
    reaperKey: payload.reaperKey,
    sealingKey: payload.sealingKey.length === 0 ? null : payload.sealingKey,
    rootKey: rootKeyOf(payload),
    capabilities: payload.capabilities,
    digest,
    signedAt: new Date(Number(header.issuedAtMs)),
  };
}

/** The key of whoever may recover this identity: sound, and neither of the two that it is kept apart from. */
function rootKeyOf({ rootKey, identityKey, reaperKey }: Enrollment): Uint8Array | null {
  if (rootKey.length === 0) return null;
  checkPublicKey(rootKey);
  if ([identityKey, reaperKey].some((key) => bytesEqual(key, rootKey)))
    throw new WireFault('key-purpose', 'the root key is a key of the instance');
  return Uint8Array.from(rootKey);
}

/** The reaper's key must be another one, sound, and agree to stand for this instance. */
function checkReaper({ instanceId, identityKey, reaperKey, reaperSignature }: Enrollment): void {
  checkPublicKey(reaperKey);
  if (bytesEqual(reaperKey, identityKey)) {
    throw new WireFault(
      'key-purpose',
      'one key for spoke and reaper: whoever breaks into the spoke could forge deaths',
    );
  }
  const endorsed = handshakePae('capstan.v1.reaper-endorse', new TextEncoder().encode(instanceId), identityKey);
  if (!verifyBytes(reaperKey, endorsed, reaperSignature)) throw new WireFault('signature-invalid', 'reaper');
}

function isCapability(text: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,62}$/.test(text);
}
