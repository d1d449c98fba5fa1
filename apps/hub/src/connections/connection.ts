import { CONFLICT_SENTENCES, type ConflictKind, type LogConflict } from '@capstan/evidence';
import { type KeyRecord, KeyRing } from '@capstan/identity';
import { type Envelope, toHex } from '@capstan/protocol';
import type { StoppableView } from '../killswitch/probe.store.js';
import type { ConnectionState, Mover } from './connection-state.js';

/** An instance's standing at this hub, from its enrolment on. */
export interface Connection {
  readonly id: string;
  readonly instanceId: string;
  readonly displayName: string;
  readonly state: ConnectionState;
  /** Who suspends it; empty unless it is SUSPENDED. */
  readonly suspendedBy: readonly Mover[];
  /** When the owner signed the last wish that was taken, by his clock. */
  readonly wishedAt: Date | null;
  /** Signs handshakes, receipts and events. */
  readonly identityKey: KeyRecord;
  /** Those whose place it has taken, oldest first, each with the end of its time. */
  readonly formerKeys: readonly KeyRecord[];
  /** The statements that led from the first key to `identityKey`, oldest first. */
  readonly keyStatements: readonly Envelope[];
  /** Raw Ed25519 of the owner's offline root key, which may replace a lost identity key; null where there is none. */
  readonly rootKey: Uint8Array | null;
  /** Signs observations of death only. */
  readonly reaperKey: KeyRecord;
  /** These, and no other instance's; a former one only until its end: what these cannot verify did not come from here. */
  readonly keys: KeyRing;
  /** Raw X25519, to which secrets for the instance are sealed; null where it has published none. */
  readonly sealingKey: Uint8Array | null;
  readonly capabilities: readonly string[];
  readonly createdAt: Date;
  readonly changedAt: Date;
  readonly lastSeenAt: Date | null;
}

export function makeConnection(fields: Omit<Connection, 'keys'>): Connection {
  const { identityKey, formerKeys, reaperKey } = fields;
  return { ...fields, keys: new KeyRing([identityKey, ...formerKeys, reaperKey], Date.now) };
}

/** A connection as the API shows it. */
export interface ConnectionView {
  id: string;
  instanceId: string;
  displayName: string;
  state: ConnectionState;
  /** Sides that must resume it before it is ACTIVE again. */
  suspendedBy: readonly Mover[];
  /** Whether the instance holds a link now. */
  online: boolean;
  /** Whether a kill was lately proven to reach its reaper. */
  stoppable: StoppableView;
  lastSeenAt: string | null;
  createdAt: string;
  changedAt: string;
  capabilities: readonly string[];
  keys: {
    keyId: string;
    publicKey: string;
    purposes: readonly string[];
    epoch: number;
    revokedAt: string | null;
  }[];
  /** Hex of the raw X25519 key to which secrets are sealed; null where it takes none. Its own word: `…/enrollment`. */
  sealingKey: string | null;
  /** How the instance's audit log contradicts what it has signed before; null where it does not. */
  auditConflict: { conflict: ConflictKind; sentence: string; size: number; heldSize: number; at: string } | null;
}

export function connectionView(
  connection: Connection,
  isOnline: boolean,
  nowMs: number,
  conflict?: LogConflict,
): Omit<ConnectionView, 'stoppable'> {
  const { id, instanceId, displayName, state, suspendedBy, capabilities } = connection;
  const lastSeenAt = isOnline ? new Date(nowMs) : connection.lastSeenAt;
  return {
    id,
    instanceId,
    displayName,
    state,
    suspendedBy,
    online: isOnline,
    lastSeenAt: lastSeenAt?.toISOString() ?? null,
    createdAt: connection.createdAt.toISOString(),
    changedAt: connection.changedAt.toISOString(),
    capabilities,
    keys: connection.keys.records().map((key) => ({
      keyId: key.keyId,
      publicKey: toHex(key.publicKey),
      purposes: key.purposes,
      epoch: key.epoch,
      revokedAt: key.revokedAt === undefined ? null : new Date(key.revokedAt).toISOString(),
    })),
    sealingKey: connection.sealingKey === null ? null : toHex(connection.sealingKey),
    auditConflict: conflict === undefined ? null : conflictView(conflict),
  };
}

function conflictView({ kind, size, heldSize, atMs }: LogConflict): ConnectionView['auditConflict'] {
  return { conflict: kind, sentence: CONFLICT_SENTENCES[kind], size, heldSize, at: new Date(atMs).toISOString() };
}
