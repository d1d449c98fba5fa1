import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeHeader, replaceFile, signPayload, type SigningKey } from '@capstan/identity';
import { VERSIONS } from '@capstan/link';
import {
  create,
  Direction,
  encodeEnvelope,
  EnrollmentSchema,
  type Envelope,
  decodeEnvelope,
  fromBase64,
  toBase64,
  toBinary,
  toHex,
} from '@capstan/protocol';
import type { Endorsement } from './endorsement.js';
import type { Invite } from './invite.js';

/** A statement that was sent, and whose answer may have been lost: the same one may be sent again. */
interface PendingStatement {
  version: 1;
  tokenDigest: string;
  instanceId: string;
  envelope: string;
}

export function pendingFile(dir: string): string {
  return join(dir, 'enrollment.json');
}

/** SHA-256 of the secret's bytes: binds the statement to one invitation without telling the secret. */
export function tokenDigest({ secret }: Invite): Uint8Array {
  return new Uint8Array(createHash('sha256').update(Buffer.from(secret, 'base64url')).digest());
}

/** The statement with which an instance asks to be admitted, signed by its identity key. */
export function makeStatement(o: {
  invite: Invite;
  instanceId: string;
  displayName: string;
  key: SigningKey;
  reaper: Endorsement;
  /** Raw X25519, to which secrets for this instance are sealed. */
  sealingKey: Uint8Array;
  /** What its owner offers, e.g. `sandbox.docker`. */
  capabilities: readonly string[];
  rootKey?: Uint8Array | undefined;
  nowMs: number;
}): Envelope {
  const { invite, instanceId, displayName, key, reaper, sealingKey, capabilities, rootKey, nowMs } = o;
  const statement = create(EnrollmentSchema, {
    header: makeHeader({
      issuer: instanceId,
      audience: invite.hubId,
      direction: Direction.SPOKE_TO_HUB,
      nowMs,
      lifetimeMs: invite.expiresAtMs - nowMs,
    }),
    instanceId,
    displayName,
    identityKey: key.publicKey,
    reaperKey: reaper.publicKey,
    tokenDigest: tokenDigest(invite),
    capabilities: [...capabilities],
    versions: [...VERSIONS],
    reaperSignature: reaper.signature,
    sealingKey,
    ...(rootKey === undefined ? {} : { rootKey }),
  });
  return signPayload(key, 'enrollment', toBinary(EnrollmentSchema, statement));
}

/** Keeps a statement before it is sent. */
export async function keepStatement(
  dir: string,
  invite: Invite,
  instanceId: string,
  envelope: Envelope,
): Promise<void> {
  const pending: PendingStatement = {
    version: 1,
    tokenDigest: toHex(tokenDigest(invite)),
    instanceId,
    envelope: toBase64(encodeEnvelope(envelope)),
  };
  await replaceFile(pendingFile(dir), `${JSON.stringify(pending)}\n`, 0o600);
}

/** The statement that was made for this invitation and this name before, if one was. */
export async function keptStatement(dir: string, invite: Invite, instanceId: string): Promise<Envelope | undefined> {
  const text = await readFile(pendingFile(dir), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const pending = JSON.parse(text) as PendingStatement;
  if (pending.tokenDigest !== toHex(tokenDigest(invite)) || pending.instanceId !== instanceId) return undefined;
  return decodeEnvelope(fromBase64(pending.envelope));
}
