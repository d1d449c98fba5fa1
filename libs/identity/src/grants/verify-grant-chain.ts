import {
  bytesEqual,
  decodeEnvelope,
  decodeStrict,
  Direction,
  type Envelope,
  type Grant,
  GrantSchema,
  type PublicKeyRecord,
  WireFault,
} from '@capstan/protocol';
import { checkHeader } from '../header.js';
import type { KeyRecord } from '../key-record.js';
import { KeyRing } from '../key-ring.js';
import { fromPublicKeyRecord } from '../public-key-record.js';
import { verifyEnvelope } from '../signed-payload.js';
import { checkCovered, checkNarrower, checkScope, type GrantedAct } from './grant-scope.js';
import { MOST_GRANTS } from './make-grant.js';

export interface GrantChainInput {
  /** Serialized envelopes, root first, as a command's header carries them. */
  chain: readonly Uint8Array[];
  /** Pinned keys: those of purpose `grant` may begin a chain, and what is revoked here is refused in it. */
  keys: KeyRing;
  /** The verified command: who signed it with which key, and what it does. */
  command: GrantedAct & { issuer: string; key: Pick<KeyRecord, 'keyId' | 'publicKey'> };
}

/** One grant of a chain that holds. */
export interface HeldGrant {
  /** SHA-256 of its PAE. */
  digest: Uint8Array;
  issuer: string;
  subject: string;
  budgetMicroUsd: bigint;
  /** Milliseconds since the epoch. */
  issuedAtMs: number;
  expiresAtMs: number;
}

export interface HeldChain {
  /** Owner of the pinned key that the chain begins with: for whom the command is given. */
  root: string;
  /** Root first; never empty. */
  grants: HeldGrant[];
}

interface Link {
  grant: Grant;
  key: KeyRecord;
  digest: Uint8Array;
}

/**
 * Whether a command is covered by its grants: the first signed by a pinned key of purpose `grant`, each further one by
 * the key that the one before it names, each naming that one's digest, each no wider, none for somebody who stands in
 * the chain already; the last for the command's issuer and key; and every one of them allows what the command does. No
 * clock is asked: see `checkGrantTime`.
 *
 * @throws {WireFault} `grant-invalid`, `grant-widened`, `grant-exceeded`, `key-revoked`
 */
export function verifyGrantChain(o: GrantChainInput): HeldChain {
  if (o.chain.length === 0 || o.chain.length > MOST_GRANTS)
    throw new WireFault('grant-invalid', `${String(o.chain.length)} grants`);
  const links: Link[] = [];
  for (const bytes of o.chain) links.push(openLink(bytes, links.at(-1), o));
  checkPrincipals(links);
  const leaf = links.at(-1);
  if (leaf === undefined || !isFor(leaf, o.command)) throw new WireFault('grant-exceeded', 'granted to somebody else');
  for (const { grant } of links) checkCovered(grant, o.command);
  return { root: links[0]?.grant.header?.issuer ?? '', grants: links.map(held) };
}

function openLink(bytes: Uint8Array, parent: Link | undefined, o: GrantChainInput): Link {
  const link = invalidUnless(() => readLink(decodeEnvelope(bytes), parent, o));
  checkScope(link.grant);
  if (parent !== undefined) {
    if (!bytesEqual(link.grant.parentDigest, parent.digest)) throw new WireFault('grant-invalid', 'of another chain');
    checkNarrower(parent.grant, link.grant);
  } else if (link.grant.parentDigest.length > 0) throw new WireFault('grant-invalid', 'a chain without its root');
  return link;
}

function readLink(envelope: Envelope, parent: Link | undefined, o: GrantChainInput): Link {
  const keys = parent === undefined ? o.keys : new KeyRing([parent.key]);
  const { key: signer, digest } = verifyEnvelope(envelope, { kind: 'grant', purpose: 'grant', keys });
  const grant = decodeStrict(GrantSchema, envelope.payload);
  const header = checkHeader(grant.header, {
    issuer: signer.owner,
    audience: grant.subject,
    direction: Direction.OPERATOR_TO_SPOKE,
    nowMs: 0,
    expiry: 'exempt',
  });
  if (header.keyEpoch !== signer.epoch) throw new WireFault('grant-invalid', `key epoch ${String(header.keyEpoch)}`);
  if (header.grantChain.length > 0) throw new WireFault('grant-invalid', 'a chain within a grant');
  const key = subjectKey(grant.subject, grant.subjectKey);
  if (o.keys.get(key.keyId)?.revokedAt !== undefined) throw new WireFault('key-revoked', key.keyId);
  return { grant, key, digest };
}

function subjectKey(subject: string, record: PublicKeyRecord | undefined): KeyRecord {
  if (record?.owner !== subject) throw new WireFault('grant-invalid', 'the key of somebody else');
  return fromPublicKeyRecord(record, ['command', 'grant']);
}

/** Nobody grants to himself, by way of others or under another name. */
function checkPrincipals(links: readonly Link[]): void {
  const names = [links[0]?.grant.header?.issuer, ...links.map(({ grant }) => grant.subject)];
  const keys = links.map(({ key }) => key.keyId);
  if (new Set(names).size !== names.length || new Set(keys).size !== keys.length)
    throw new WireFault('grant-invalid', 'a loop');
}

function isFor({ grant, key }: Link, { issuer, key: signer }: GrantChainInput['command']): boolean {
  return (
    grant.subject === issuer &&
    key.keyId === signer.keyId &&
    bytesEqual(key.publicKey, signer.publicKey) &&
    key.purposes.includes('command')
  );
}

function held({ grant, digest }: Link): HeldGrant {
  const { header, subject, budgetMicroUsd } = grant;
  return {
    digest,
    issuer: header?.issuer ?? '',
    subject,
    budgetMicroUsd,
    issuedAtMs: Number(header?.issuedAtMs ?? 0n),
    expiresAtMs: Number(header?.expiresAtMs ?? 0n),
  };
}

/** Of what makes a single grant unusable, the sender is told no more than what he can do something about. */
function invalidUnless<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof WireFault)) throw error;
    if (error.code === 'grant-invalid' || error.code === 'key-revoked') throw error;
    throw new WireFault('grant-invalid', `${error.code}: ${error.detail ?? ''}`, { cause: error });
  }
}
