import {
  create,
  decodeStrict,
  Direction,
  encodeEnvelope,
  type Envelope,
  type Grant,
  GrantSchema,
  type MessageInitShape,
  toBinary,
} from '@capstan/protocol';
import { envelopeDigest } from '../envelope-digest.js';
import { makeHeader } from '../header.js';
import { keyIdOf } from '../key-id.js';
import type { KeyPurpose } from '../key-record.js';
import { signPayload } from '../signed-payload.js';
import type { SigningKey } from '../signing-key.js';

/** Grants in a chain, the first included. */
export const MOST_GRANTS = 3;
/** Kinds of commands that can be delegated. */
export const GRANT_VERBS = ['agent.spawn', 'agent.status', 'agent.kill'] as const;
/** In a list of instances, tenants or repositories: whatever the grantor may. */
export const ALL = '*';

/** What a grant lets its subject do. Empty lists allow nothing. */
export interface GrantScope {
  /** Of {@link GRANT_VERBS}. */
  verbs: readonly string[];
  /** Ids, or `*`. */
  instances: readonly string[];
  /** Ids, or `*`. */
  tenants: readonly string[];
  /** Exact paths or URLs, prefixes that end in `/*`, or `*`. */
  repositories: readonly string[];
  /** Sum of the budgets of all spawns, millionths of a US dollar. */
  budgetMicroUsd: bigint;
}

export interface GrantInit extends GrantScope {
  /** Who grants, and the key with which it does. */
  issuer: string;
  key: SigningKey;
  keyEpoch?: number;
  /** Who may act. */
  subject: string;
  /** Raw Ed25519, 32 bytes. */
  subjectKey: Uint8Array;
  subjectKeyEpoch?: number;
  /** How many further grants may follow: 0 to 2. */
  depth: number;
  lifetimeMs: number;
  nowMs?: number;
  /** The grant on which this one stands; none for the first of a chain. */
  parent?: Envelope;
}

/**
 * A signed grant. Whether it holds is for the receiver to say: nothing here refuses one that widens.
 *
 * @throws {WireFault} `id-malformed`
 */
export function makeGrant(o: GrantInit): Envelope {
  const purposes: KeyPurpose[] = o.depth > 0 ? ['command', 'grant'] : ['command'];
  const grant: MessageInitShape<typeof GrantSchema> = {
    header: makeHeader({
      issuer: o.issuer,
      audience: o.subject,
      direction: Direction.OPERATOR_TO_SPOKE,
      lifetimeMs: o.lifetimeMs,
      keyEpoch: o.keyEpoch ?? 1,
      ...(o.nowMs === undefined ? {} : { nowMs: o.nowMs }),
    }),
    subject: o.subject,
    subjectKey: {
      keyId: keyIdOf(o.subjectKey),
      owner: o.subject,
      publicKey: o.subjectKey,
      purposes,
      epoch: o.subjectKeyEpoch ?? 1,
    },
    verbs: [...o.verbs],
    instances: [...o.instances],
    tenants: [...o.tenants],
    repositories: [...o.repositories],
    budgetMicroUsd: o.budgetMicroUsd,
    depth: o.depth,
    ...(o.parent === undefined ? {} : { parentDigest: envelopeDigest(o.parent) }),
  };
  return signPayload(o.key, 'grant', toBinary(GrantSchema, create(GrantSchema, grant)));
}

/** The chain as a command's header carries it, root first. */
export function grantChain(grants: readonly Envelope[]): Uint8Array[] {
  return grants.map(encodeEnvelope);
}

/** What a grant says, nothing of it verified. @throws {WireFault} `payload-malformed`, `unknown-field` */
export function readGrant(envelope: Envelope): Grant {
  return decodeStrict(GrantSchema, envelope.payload);
}
