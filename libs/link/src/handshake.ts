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

export function makeHello(o: { instanceId: string; key: SigningKey; sessionEpoch: bigint }): Hello {
  return create(HelloSchema, {
    instanceId: o.instanceId,
    keyId: o.key.keyId,
    nonce: randomBytes(NONCE_BYTES),
    versions: [...VERSIONS],
    sessionEpoch: o.sessionEpoch,
  });
}

/** Throws WireFault id-malformed, frame-malformed. */
export function checkHello(hello: Hello): void {
  instanceId(hello.instanceId);
  keyId(hello.keyId);
  checkNonce(hello.nonce);
  if (hello.versions.length > 16) throw new WireFault('frame-malformed', 'more than 16 versions');
}

/**
 * The hub's answer, with the best version that both speak. `helloBytes` is the frame as it travelled.
 * Throws WireFault handshake-version.
 */
export function makeChallenge(hello: Hello, helloBytes: Uint8Array, hub: { id: string; key: SigningKey }): Challenge {
  const version = VERSIONS.findLast((candidate) => hello.versions.includes(candidate));
  if (version === undefined) throw new WireFault('handshake-version', `peer speaks ${hello.versions.join(', ')}`);
  const nonce = randomBytes(NONCE_BYTES);
  const unsigned = create(ChallengeSchema, { hubId: hub.id, keyId: hub.key.keyId, nonce, version });
  return create(ChallengeSchema, { ...unsigned, signature: hub.key.sign(hubTranscript(helloBytes, unsigned)) });
}

/** Throws WireFault frame-malformed, wrong-issuer, handshake-version, key-unknown, key-revoked, key-purpose, handshake-signature. */
export function checkChallenge(
  challenge: Challenge,
  helloBytes: Uint8Array,
  want: { hubId: string; keys: KeyRing },
): KeyRecord {
  checkNonce(challenge.nonce);
  if (hubId(challenge.hubId) !== want.hubId) throw new WireFault('wrong-issuer', `hub ${challenge.hubId}`);
  const key = want.keys.get(keyId(challenge.keyId));
  checkLinkKey(key, want.hubId);
  if (!verifyBytes(key.publicKey, hubTranscript(helloBytes, challenge), challenge.signature)) {
    throw new WireFault('handshake-signature', 'challenge');
  }
  if (!VERSIONS.includes(challenge.version)) throw new WireFault('handshake-version', String(challenge.version));
  return key;
}

/** Both frames as they travelled. */
export function makeProof(key: SigningKey, helloBytes: Uint8Array, challengeBytes: Uint8Array): Proof {
  return create(ProofSchema, { signature: key.sign(handshakePae(SPOKE_LABEL, helloBytes, challengeBytes)) });
}

/** Throws WireFault key-unknown, key-revoked, key-purpose, handshake-signature. */
export function checkProof(
  proof: Proof,
  helloBytes: Uint8Array,
  challengeBytes: Uint8Array,
  want: { instanceId: string; key: KeyRecord | undefined },
): KeyRecord {
  checkLinkKey(want.key, want.instanceId);
  if (!verifyBytes(want.key.publicKey, handshakePae(SPOKE_LABEL, helloBytes, challengeBytes), proof.signature)) {
    throw new WireFault('handshake-signature', 'proof');
  }
  return want.key;
}

/** The Challenge's fields one by one: to sign its own bytes the spoke would have to serialize what it has parsed. */
function hubTranscript(helloBytes: Uint8Array, challenge: Challenge): Uint8Array {
  const version = new Uint8Array(4);
  new DataView(version.buffer).setUint32(0, challenge.version);
  const [hub, key] = [challenge.hubId, challenge.keyId].map((text) => new TextEncoder().encode(text)) as [
    Uint8Array,
    Uint8Array,
  ];
  return handshakePae(HUB_LABEL, helloBytes, hub, key, challenge.nonce, version);
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
