/** The keys, ids and times of the vectors: the same each time, so that the files change only when the protocol does. */
import { createHash } from 'node:crypto';
import {
  keyRecord,
  KeyRing,
  makeHeader,
  signPayload,
  SigningKey,
  type HeaderInit,
  type KeyPurpose,
} from '@capstan/identity';
import {
  CommandSchema,
  create,
  Direction,
  KillAllStatementSchema,
  KillOutcome,
  KillScope,
  ObservationSchema,
  ReceiptSchema,
  toBinary,
  encodeEnvelope,
  type Envelope,
  type Header,
  type MessageInitShape,
} from '@capstan/protocol';

/** 2026-01-02T03:04:05.678Z */
export const NOW = 1_767_323_045_678;
export const HUB = 'hub';
export const INSTANCE = 'quay';
export const COMMAND_ID = '019b7c9e-6d2e-7000-8000-000000000001';
const RECEIPT_ID = '019b7c9e-6d2e-7000-8000-000000000002';
const OBSERVATION_ID = '019b7c9e-6d2e-7000-8000-000000000003';
const STATEMENT_ID = '019b7c9e-6d2e-7000-8000-000000000004';

/** Seeds are SHA-256 of a name: nobody may use them for anything else. */
export function seedOf(name: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(`capstan.v1 test vectors: ${name}`).digest());
}

export interface Actor {
  name: string;
  owner: string;
  purposes: KeyPurpose[];
  revokedAt?: number;
}

/** Whose keys the receiver has pinned. */
export const ACTORS = [
  { name: 'hub', owner: HUB, purposes: ['link', 'command', 'lease'] },
  { name: 'hub, revoked', owner: HUB, purposes: ['link', 'command'], revokedAt: NOW - 1000 },
  { name: 'spoke', owner: INSTANCE, purposes: ['link', 'receipt'] },
  { name: 'reaper', owner: INSTANCE, purposes: ['observe'] },
  { name: "another instance's reaper", owner: 'harbor', purposes: ['observe'] },
] as const satisfies Actor[];

export type ActorName = (typeof ACTORS)[number]['name'] | 'stranger';

export function signer(name: ActorName): SigningKey {
  return SigningKey.fromSeed(seedOf(name));
}

/** The keys that the receiver has pinned. */
export function trust(): KeyRing {
  const ring = new KeyRing();
  for (const actor of ACTORS) {
    const record = keyRecord(actor.owner, signer(actor.name).publicKey, actor.purposes);
    ring.add('revokedAt' in actor ? { ...record, revokedAt: actor.revokedAt } : record);
  }
  return ring;
}

export function commandHeader(change: Partial<HeaderInit> = {}): Header {
  const base = { id: COMMAND_ID, issuer: HUB, audience: INSTANCE, direction: Direction.HUB_TO_SPOKE, nowMs: NOW };
  return makeHeader({ ...base, onBehalfOf: 'admin', tenant: 'default', ...change });
}

type CommandBody = NonNullable<MessageInitShape<typeof CommandSchema>['body']>;

export const KILL: CommandBody = { case: 'kill', value: { agentId: 'agent-1', reason: 'vector' } };

export function commandBytes(body: CommandBody, header: Header = commandHeader()): Uint8Array {
  return toBinary(CommandSchema, create(CommandSchema, { header, body }));
}

export function command(body: CommandBody, header?: Header, by: ActorName = 'hub'): Envelope {
  return signPayload(signer(by), 'command', commandBytes(body, header));
}

type ReceiptInit = MessageInitShape<typeof ReceiptSchema>;

/** A receipt for the command with this digest; what `change` does not say fits. */
export function receipt(
  commandDigest: Uint8Array,
  change: Omit<ReceiptInit, '$typeName'>,
  by: ActorName = 'spoke',
  header: Partial<HeaderInit> = {},
): Envelope {
  const base = { id: RECEIPT_ID, issuer: INSTANCE, audience: HUB, direction: Direction.SPOKE_TO_HUB, nowMs: NOW + 50 };
  const message = create(ReceiptSchema, {
    header: makeHeader({ ...base, ...header }),
    commandIssuer: HUB,
    commandId: COMMAND_ID,
    commandDigest,
    agentId: 'agent-1',
    acceptedAtMs: BigInt(NOW + 5),
    audit: { sequence: 7n, hash: new Uint8Array(createHash('sha256').update('entry 7').digest()) },
    ...change,
  });
  return signPayload(signer(by), 'receipt', toBinary(ReceiptSchema, message));
}

/** What the reaper signs about a death, serialized; what `change` does not say fits. */
export function observation(
  commandDigest: Uint8Array,
  change: Omit<MessageInitShape<typeof ObservationSchema>, '$typeName'> = {},
  by: ActorName = 'reaper',
  header: Partial<HeaderInit> = {},
): Uint8Array {
  const base = { id: OBSERVATION_ID, issuer: INSTANCE, audience: INSTANCE, direction: Direction.LOCAL };
  const message = create(ObservationSchema, {
    header: makeHeader({ ...base, nowMs: NOW + 40, lifetimeMs: 315_360_000_000, ...header }),
    agentId: 'agent-1',
    commandDigest,
    outcome: KillOutcome.KILLED,
    orderedAtMs: BigInt(NOW + 10),
    signalledAtMs: BigInt(NOW + 11),
    observedAtMs: BigInt(NOW + 14),
    bootId: '6a2c0f0e-7c1d-4c3b-9a58-0f4b1e7d2c11',
    processes: [
      { pid: 4242, startTicks: 991_337n },
      { pid: 4243, startTicks: 991_338n },
    ],
    pidNamespace: 4_026_532_177n,
    cgroup: '/sys/fs/cgroup/capstan/agent-1',
    membersBefore: 3,
    ...change,
  });
  return encodeEnvelope(signPayload(signer(by), 'observation', toBinary(ObservationSchema, message)));
}

/** What the reaper signs about an instance's first kill-all, serialized; what `change` does not say fits. */
export function killAllStatement(
  commandDigest: Uint8Array,
  change: Omit<MessageInitShape<typeof KillAllStatementSchema>, '$typeName'> = {},
  by: ActorName = 'reaper',
  header: Partial<HeaderInit> = {},
): Uint8Array {
  const base = { id: STATEMENT_ID, issuer: INSTANCE, audience: INSTANCE, direction: Direction.LOCAL };
  const message = create(KillAllStatementSchema, {
    header: makeHeader({ ...base, nowMs: NOW + 10, lifetimeMs: 315_360_000_000, ...header }),
    commandDigest,
    scope: KillScope.INSTANCE,
    epoch: 1n,
    agents: ['agent-1', 'agent-2'],
    raisedAtMs: BigInt(NOW + 10),
    bootId: '6a2c0f0e-7c1d-4c3b-9a58-0f4b1e7d2c11',
    ...change,
  });
  return encodeEnvelope(signPayload(signer(by), 'kill-all', toBinary(KillAllStatementSchema, message)));
}
