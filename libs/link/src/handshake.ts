import { randomBytes } from 'node:crypto';
import { handshakePae, type KeyRecord, type KeyRing, type SigningKey, verifyBytes } from '@capstan/identity';
import {
  type Challenge,
  ChallengeSchema,
  create,
  type Hello,
  HelloSchema,
  hubId,
  instanceId,
  keyId,
  type Proof,
  ProofSchema,
  WireFault,
} from '@capstan/protocol';
import { VERSIONS } from './limits.js';

/**
 * Both sides sign the same transcript under different labels, so that neither signature can be reflected. It begins
 * with the Hello's exact bytes, hence an altered list of versions (a downgrade) breaks the hub's signature, and each
 * side's fresh nonce is in it, hence an old signature proves nothing.
 */
const HUB_LABEL = 'capstan.v1.hub-hello';
const SPOKE_LABEL = 'capstan.v1.spoke-proof';
const NONCE_BYTES = 32;

/** What one end brings to each handshake besides its key. */
export interface HandshakeTerms {
  /** Protocol versions that it speaks, the best one last. */
  versions: readonly number[];
  /** Fresh for each handshake; only a recorded session brings its own. */
  nonce: () => Uint8Array;
}

export const TERMS: HandshakeTerms = { versions: VERSIONS, nonce: () => randomBytes(NONCE_BYTES) };

export function makeHello(
  o: { instanceId: string; key: SigningKey; sessionEpoch: bigint; hubKeyId?: string },
  { versions, nonce }: HandshakeTerms = TERMS,
): Hello {
  return create(HelloSchema, {
    instanceId: o.instanceId,
    keyId: o.key.keyId,
    nonce: nonce(),
    versions: [...versions],
    sessionEpoch: o.sessionEpoch,
    hubKeyId: o.hubKeyId ?? '',
  });
}

/** Throws WireFault id-malformed, frame-malformed. */
export function checkHello(hello: Hello): void {
  instanceId(hello.instanceId);
  keyId(hello.keyId);
  if (hello.hubKeyId !== '') keyId(hello.hubKeyId);
  checkNonce(hello.nonce);
  if (hello.versions.length > 16) throw new WireFault('frame-malformed', 'more than 16 versions');
}

/** What both have seen on the way in: the Hello as it travelled and, where TLS ends at the hub, its exporter. */
export interface Seen {
  hello: Uint8Array;
  /** See `tlsBinding`. */
  tls?: Uint8Array | undefined;
}

/** The hub's answer, with the best version that both speak. Throws WireFault handshake-version. */
export function makeChallenge(
  hello: Hello,
  seen: Seen,
  hub: { id: string; key: SigningKey },
  { versions, nonce }: HandshakeTerms,
): Challenge {
  const version = versions.findLast((candidate) => hello.versions.includes(candidate));
  if (version === undefined) {
    throw new WireFault('handshake-version', `speaks ${versions.join(', ')}; peer speaks ${hello.versions.join(', ')}`);
  }
  const unsigned = create(ChallengeSchema, { hubId: hub.id, keyId: hub.key.keyId, nonce: nonce(), version });
  return create(ChallengeSchema, { ...unsigned, signature: hub.key.sign(hubTranscript(seen, unsigned)) });
}

/** Throws WireFault frame-malformed, wrong-issuer, handshake-version, key-unknown, key-revoked, key-purpose, handshake-signature. */
export function checkChallenge(
  challenge: Challenge,
  seen: Seen,
  want: { hubId: string; keys: KeyRing; versions: readonly number[] },
): KeyRecord {
  checkNonce(challenge.nonce);
  if (hubId(challenge.hubId) !== want.hubId) throw new WireFault('wrong-issuer', `hub ${challenge.hubId}`);
  const key = want.keys.get(keyId(challenge.keyId));
  checkLinkKey(key, want.hubId);
  if (!verifyBytes(key.publicKey, hubTranscript(seen, challenge), challenge.signature)) {
    throw new WireFault('handshake-signature', 'challenge');
  }
  if (!want.versions.includes(challenge.version)) throw new WireFault('handshake-version', String(challenge.version));
  return key;
}

/** `challengeBytes` is the frame as it travelled. */
export function makeProof(key: SigningKey, seen: Seen, challengeBytes: Uint8Array): Proof {
  return create(ProofSchema, { signature: key.sign(spokeTranscript(seen, challengeBytes)) });
}

/** Throws WireFault key-unknown, key-revoked, key-purpose, handshake-signature. */
export function checkProof(
  proof: Proof,
  seen: Seen,
  challengeBytes: Uint8Array,
  want: { instanceId: string; key: KeyRecord | undefined },
): KeyRecord {
  checkLinkKey(want.key, want.instanceId);
  if (!verifyBytes(want.key.publicKey, spokeTranscript(seen, challengeBytes), proof.signature)) {
    throw new WireFault('handshake-signature', 'proof');
  }
  return want.key;
}

/** The Challenge's fields one by one: to sign its own bytes the spoke would have to serialize what it has parsed. */
function hubTranscript({ hello, tls }: Seen, challenge: Challenge): Uint8Array {
  const version = new Uint8Array(4);
  new DataView(version.buffer).setUint32(0, challenge.version);
  const [hub, key] = [challenge.hubId, challenge.keyId].map((text) => new TextEncoder().encode(text)) as [
    Uint8Array,
    Uint8Array,
  ];
  return handshakePae(HUB_LABEL, hello, hub, key, challenge.nonce, version, ...bound(tls));
}

function spokeTranscript({ hello, tls }: Seen, challengeBytes: Uint8Array): Uint8Array {
  return handshakePae(SPOKE_LABEL, hello, challengeBytes, ...bound(tls));
}

/** A part of its own: a transcript with it and one without never agree. */
function bound(tls: Uint8Array | undefined): Uint8Array[] {
  return tls === undefined ? [] : [tls];
}

function checkNonce(nonce: Uint8Array): void {
  if (nonce.length !== NONCE_BYTES) throw new WireFault('frame-malformed', `nonce of ${String(nonce.length)} bytes`);
}

/** Purpose and owner come from the pinned record, never from the message. */
function checkLinkKey(key: KeyRecord | undefined, owner: string): asserts key is KeyRecord {
  if (key?.owner !== owner) throw new WireFault('key-unknown', owner);
  if (key.revokedAt !== undefined) throw new WireFault('key-revoked', key.keyId);
  if (!key.purposes.includes('link')) throw new WireFault('key-purpose', key.keyId);
}
