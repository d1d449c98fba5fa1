import {
  checkHeader,
  checkIssuedInTime,
  type KeyPurpose,
  type KeyRing,
  makeHeader,
  signPayload,
  type SigningKey,
  verifyEnvelope,
} from '@capstan/identity';
import {
  create,
  decodeStrict,
  Direction,
  type Envelope,
  toBinary,
  type TreeHead,
  TreeHeadSchema,
  WireFault,
} from '@capstan/protocol';
import type { TreeState } from '../merkle/verify-proof.js';

/** A head is evidence: it is verified years after it was made. */
const LIFETIME_MS = 10 * 365 * 24 * 3_600_000;

/**
 * What keys a log's owner signs its heads with: an instance with the one that signs its answers, a hub with the one that
 * signs its orders. The payload type keeps them apart from both.
 */
export const HEAD_PURPOSES = { instance: 'receipt', hub: 'command' } as const satisfies Record<string, KeyPurpose>;
export type LogOwner = keyof typeof HEAD_PURPOSES;

/** A head of which the signature holds. */
export interface VerifiedHead extends TreeState {
  /** Id of the hub or instance whose log it is. */
  readonly logId: string;
  readonly atMs: number;
}

export interface HeadToSign extends TreeState {
  key: SigningKey;
  owner: LogOwner;
  logId: string;
  audience: string;
  nowMs: number;
}

/** A head of one's own log, signed for one receiver. */
export function signTreeHead({ key, owner, logId, audience, size, root, nowMs }: HeadToSign): Envelope {
  const header = makeHeader({
    issuer: logId,
    audience,
    direction: owner === 'hub' ? Direction.HUB_TO_SPOKE : Direction.SPOKE_TO_HUB,
    lifetimeMs: LIFETIME_MS,
    nowMs,
  });
  const head = create(TreeHeadSchema, { header, logId, size: BigInt(size), root, atMs: BigInt(Math.floor(nowMs)) });
  return signPayload(key, 'tree-head', toBinary(TreeHeadSchema, head));
}

export interface HeadDemand {
  /** The pinned keys of the log's owner. */
  keys: KeyRing;
  owner: LogOwner;
  /** Whom it must be for; anybody, unless told: a head that was kept as evidence proves the same to all. */
  audience?: string;
}

/**
 * Verifies a head at any time after it was made; heads are put in order by their size, no clock is asked.
 *
 * @throws {WireFault} as `verifyEnvelope`, `decodeStrict` and `checkHeader`; `wrong-issuer` where it is of another's log
 */
export function verifyTreeHead(envelope: Envelope, { keys, owner, audience }: HeadDemand): VerifiedHead {
  const { key } = verifyEnvelope(envelope, { kind: 'tree-head', purpose: HEAD_PURPOSES[owner], keys });
  const head = decodeStrict(TreeHeadSchema, envelope.payload);
  const header = checkHeader(head.header, {
    issuer: key.owner,
    audience: audience ?? head.header?.audience ?? '',
    direction: owner === 'hub' ? Direction.HUB_TO_SPOKE : Direction.SPOKE_TO_HUB,
    nowMs: 0,
    expiry: 'exempt',
  });
  checkIssuedInTime(key, header);
  return contentOf(head, key.owner);
}

function contentOf({ logId, size, root, atMs }: TreeHead, owner: string): VerifiedHead {
  if (logId !== owner) throw new WireFault('wrong-issuer', 'the head of another log');
  if (root.length !== 32) throw new WireFault('payload-malformed', 'a root has 32 bytes');
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new WireFault('payload-malformed', 'the size is absurd');
  return { logId, size: Number(size), root: Uint8Array.from(root), atMs: Number(atMs) };
}
