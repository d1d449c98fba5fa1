import nacl from 'tweetnacl';
import {
  create,
  decodeEnvelope,
  decodeStrict,
  Direction,
  encodeEnvelope,
  type Envelope,
  EnvelopeSchema,
  type Header,
  PAYLOAD_TYPES,
  type SecretContent,
  SecretContentSchema,
  SealedSchema,
  toBinary,
  WireFault,
} from '@capstan/protocol';
import { checkHeader, makeHeader } from '../header.js';
import { keyIdOf } from '../key-id.js';
import type { KeyRing } from '../key-ring.js';
import { openEnvelope } from '../open-envelope.js';
import { signPayload } from '../signed-payload.js';
import type { SigningKey } from '../signing-key.js';
import { isSecretName } from './secret-name.js';
import type { SealingKey } from './sealing-key.js';

/** Of one secret, bytes; of all secrets of a spawn, bytes; and how many. */
export const SECRET_LIMITS = { valueBytes: 32 * 1024, allBytes: 128 * 1024, count: 32 } as const;

export interface SealInit {
  /** Raw X25519 key of the instance, 32 bytes. */
  recipient: Uint8Array;
  /** Who seals, and the key with which that is signed inside. */
  issuer: string;
  sender: SigningKey;
  keyEpoch?: number;
  /** The instance. */
  audience: string;
  /** The only agent that may have it. */
  agentId: string;
  /** Name of the environment variable. */
  name: string;
  value: Uint8Array;
  lifetimeMs: number;
  nowMs?: number;
}

/**
 * A secret that only one instance can read, for one agent of it: NaCl box with a fresh key pair per message, so that a
 * sender's key that is stolen later opens nothing; the sender's signature is inside.
 *
 * @throws {WireFault} `secret-unreadable` where no instance would take it, `id-malformed`
 */
export function sealSecret(o: SealInit): Envelope {
  const { issuer, audience, agentId, name, value, lifetimeMs, nowMs, keyEpoch } = o;
  checkContent({ name, value });
  if (o.recipient.length !== nacl.box.publicKeyLength) throw new WireFault('secret-unreadable', 'no X25519 key');
  const header = makeHeader({
    issuer,
    audience,
    direction: Direction.OPERATOR_TO_SPOKE,
    lifetimeMs,
    ...(nowMs === undefined ? {} : { nowMs }),
    ...(keyEpoch === undefined ? {} : { keyEpoch }),
  });
  const content = create(SecretContentSchema, { header, agentId, name, value });
  const signed = encodeEnvelope(signPayload(o.sender, 'secret', toBinary(SecretContentSchema, content)));
  const fresh = nacl.box.keyPair();
  const nonce = nacl.randomBytes(nacl.box.nonceLength);
  const sealed = create(SealedSchema, {
    recipientKeyId: keyIdOf(o.recipient),
    ephemeralKey: fresh.publicKey,
    nonce,
    box: nacl.box(signed, nonce, Uint8Array.from(o.recipient), fresh.secretKey),
  });
  return create(EnvelopeSchema, { payloadType: PAYLOAD_TYPES.sealed, payload: toBinary(SealedSchema, sealed) });
}

export interface OpenSecretInput {
  /** A serialized envelope, as a spawn carries it. */
  sealed: Uint8Array;
  key: SealingKey;
  /**
   * Whose secrets are taken: keys of purpose `command`. Left out for a secret that was checked before, with the command
   * that carries it: then neither signature nor time is looked at again.
   */
  senders?: KeyRing;
  /** The instance that opens, and the agent that is to have it. */
  audience: string;
  agentId: string;
  nowMs: number;
}

export interface OpenedSecret {
  name: string;
  value: string;
  /** Owner of the key that signed it. */
  sender: string;
}

/**
 * Opens a secret. Says no more than that it cannot be read, except where its time has passed.
 *
 * @throws {WireFault} `secret-unreadable`, `expired`, `clock-skew`
 */
export function openSecret(o: OpenSecretInput): OpenedSecret {
  try {
    const { payload, header } = openContent(o);
    if (payload.agentId !== o.agentId) throw new WireFault('secret-unreadable', 'for another agent');
    checkContent(payload);
    return { name: payload.name, value: textOf(payload.value), sender: header.issuer };
  } catch (error) {
    if (!(error instanceof WireFault)) throw error;
    if (['secret-unreadable', 'expired', 'clock-skew'].includes(error.code)) throw error;
    throw new WireFault('secret-unreadable', error.code, { cause: error });
  }
}

function openContent(o: OpenSecretInput): { payload: SecretContent; header: Header } {
  const outer = decodeEnvelope(o.sealed);
  if (outer.payloadType !== PAYLOAD_TYPES.sealed || outer.signatures.length > 0)
    throw new WireFault('secret-unreadable', 'not a sealed secret');
  const { recipientKeyId, ephemeralKey, nonce, box } = decodeStrict(SealedSchema, outer.payload);
  if (recipientKeyId !== o.key.keyId) throw new WireFault('secret-unreadable', 'sealed to another key');
  const opened = o.key.open(box, nonce, ephemeralKey);
  if (opened === undefined) throw new WireFault('secret-unreadable', 'the box does not open');
  const envelope = decodeEnvelope(opened);
  const { audience, nowMs, senders: keys } = o;
  const direction = Direction.OPERATOR_TO_SPOKE;
  if (keys === undefined) {
    const payload = decodeStrict(SecretContentSchema, envelope.payload);
    return { payload, header: checkHeader(payload.header, { audience, direction, nowMs, expiry: 'exempt' }) };
  }
  const want = { kind: 'secret', purpose: 'command', keys, audience, direction, nowMs } as const;
  const content = openEnvelope(envelope, SecretContentSchema, want);
  if (content.header.keyEpoch !== content.key.epoch) throw new WireFault('secret-unreadable', 'key epoch');
  return content;
}

function checkContent({ name, value }: { name: string; value: Uint8Array }): void {
  if (!isSecretName(name)) throw new WireFault('secret-unreadable', 'a name that no secret may have');
  if (value.length > SECRET_LIMITS.valueBytes) throw new WireFault('secret-unreadable', 'too long');
  textOf(value);
}

/** An environment variable holds text without NUL. */
function textOf(value: Uint8Array): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
    if (!text.includes('\0')) return text;
  } catch {
    // Told below, without the value.
  }
  throw new WireFault('secret-unreadable', 'no text');
}
