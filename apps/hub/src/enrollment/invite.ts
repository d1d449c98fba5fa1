import { createHash, randomBytes } from 'node:crypto';

const PREFIX = 'capstan-invite-v1.';

/** What an invitation tells a spoke: where the hub is, which key it must have, and the secret that admits it once. */
export interface Invite {
  url: string;
  hubId: string;
  /** The hub's public key, hex: pinned, so that nobody else can answer in its place. */
  hubKey: string;
  /** How many keys the hub has had; absent for its first. */
  hubKeyEpoch?: number;
  /** 256 random bits, base64url. */
  secret: string;
  expiresAt: string;
  /** Of the TLS key that answers at `url`, see `spkiPin`; absent where a public CA must vouch, or without TLS. */
  tlsPin?: string;
  /** With https only: whether links are bound to their TLS connection, since the hub itself ends it. */
  tlsEnds?: 'hub' | 'proxy';
}

export function encodeInvite(invite: Invite): string {
  return `${PREFIX}${Buffer.from(JSON.stringify(invite)).toString('base64url')}`;
}

export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** What is stored of a secret, and what an Enrollment names it by: SHA-256 of its 32 bytes. */
export function secretDigest(secret: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(Buffer.from(secret, 'base64url')).digest());
}
