import { checkPublicKey, parsePin } from '@capstan/identity';
import { fromHex, hubId, LocalFault } from '@capstan/protocol';

const PREFIX = 'capstan-invite-v1.';
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** What an invitation tells: where the hub is, which key it must have, and the secret that admits once. */
export interface Invite {
  /** The hub's HTTP address: https, or http on this machine. */
  url: URL;
  hubId: string;
  /** Raw Ed25519 public key, 32 bytes; whoever answers must hold it. */
  hubKey: Uint8Array;
  /** How many keys the hub has had. */
  hubKeyEpoch: number;
  /** Base64url of 32 random bytes. */
  secret: string;
  /** Milliseconds since the epoch. */
  expiresAtMs: number;
  /** What the hub's TLS must be, with https. */
  tls: HubTls;
}

export interface HubTls {
  /** Of the server's key; without it a public CA must vouch. */
  pin?: string;
  /** `hub`: links are bound to their TLS connection. */
  ends: 'hub' | 'proxy';
}

/** @throws LocalFault `invite-malformed`, `invite-expired`, `invite-insecure` */
export function parseInvite(text: string, nowMs: number): Invite {
  const invite = read(text.trim());
  const { url, expiresAtMs } = invite;
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.test(url.hostname))) {
    throw new LocalFault(
      'invite-insecure',
      'The hub must be reached by https, or by http on this machine only.',
      url.href,
    );
  }
  if (expiresAtMs <= nowMs)
    throw new LocalFault('invite-expired', 'The invitation has expired; ask the hub’s admin for another.');
  return invite;
}

function read(text: string): Invite {
  try {
    if (!text.startsWith(PREFIX)) throw new TypeError('not an invitation');
    const json = JSON.parse(Buffer.from(text.slice(PREFIX.length), 'base64url').toString('utf8')) as Record<
      string,
      unknown
    >;
    const hubKey = fromHex(field(json, 'hubKey'));
    checkPublicKey(hubKey);
    const secret = field(json, 'secret');
    if (Buffer.from(secret, 'base64url').length !== 32) throw new TypeError('secret');
    const expiresAtMs = Date.parse(field(json, 'expiresAt'));
    if (Number.isNaN(expiresAtMs)) throw new TypeError('expiresAt');
    const url = new URL(field(json, 'url'));
    const hubKeyEpoch = json['hubKeyEpoch'] ?? 1;
    if (!Number.isSafeInteger(hubKeyEpoch) || (hubKeyEpoch as number) < 1) throw new TypeError('hubKeyEpoch');
    const key = { hubKey, hubKeyEpoch: hubKeyEpoch as number };
    return { url, hubId: hubId(field(json, 'hubId')), ...key, secret, expiresAtMs, tls: readHubTls(json) };
  } catch (cause) {
    throw new LocalFault('invite-malformed', 'This is not an invitation, or a part of it is missing.', undefined, {
      cause,
    });
  }
}

/** @throws TypeError, LocalFault where a part is malformed */
export function readHubTls({ tlsPin, tlsEnds }: Record<string, unknown>): HubTls {
  if (tlsEnds !== undefined && tlsEnds !== 'hub' && tlsEnds !== 'proxy') throw new TypeError('tlsEnds');
  if (tlsPin !== undefined && typeof tlsPin !== 'string') throw new TypeError('tlsPin');
  return { ...(tlsPin === undefined ? {} : { pin: parsePin(tlsPin) }), ends: tlsEnds ?? 'proxy' };
}

function field(json: Record<string, unknown>, name: string): string {
  const value = json[name];
  if (typeof value !== 'string') throw new TypeError(name);
  return value;
}
