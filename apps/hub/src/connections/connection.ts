import { type KeyRecord, KeyRing } from '@capstan/identity';
import { toHex } from '@capstan/protocol';
import type { ConnectionState } from './connection-state.js';

/** An instance's standing at this hub, from its enrolment on. */
export interface Connection {
  readonly id: string;
  readonly instanceId: string;
  readonly displayName: string;
  readonly state: ConnectionState;
  /** Signs handshakes, receipts and events. */
  readonly identityKey: KeyRecord;
  /** Signs observations of death only. */
  readonly reaperKey: KeyRecord;
  /** Both keys, and no other instance's: what these cannot verify did not come from here. */
  readonly keys: KeyRing;
  readonly capabilities: readonly string[];
  readonly createdAt: Date;
  readonly changedAt: Date;
  readonly lastSeenAt: Date | null;
}

export function makeConnection(fields: Omit<Connection, 'keys'>): Connection {
  return { ...fields, keys: new KeyRing([fields.identityKey, fields.reaperKey]) };
}

/** A connection as the API shows it. */
export interface ConnectionView {
  id: string;
  instanceId: string;
  displayName: string;
  state: ConnectionState;
  /** Whether the instance holds a link now. */
  online: boolean;
  lastSeenAt: string | null;
  createdAt: string;
  changedAt: string;
  capabilities: readonly string[];
  keys: { keyId: string; publicKey: string; purposes: readonly string[]; revokedAt: string | null }[];
}

export function connectionView(connection: Connection, isOnline: boolean, nowMs: number): ConnectionView {
  const { id, instanceId, displayName, state, capabilities } = connection;
  const lastSeenAt = isOnline ? new Date(nowMs) : connection.lastSeenAt;
  return {
    id,
    instanceId,
    displayName,
    state,
    online: isOnline,
    lastSeenAt: lastSeenAt?.toISOString() ?? null,
    createdAt: connection.createdAt.toISOString(),
    changedAt: connection.changedAt.toISOString(),
    capabilities,
    keys: connection.keys.records().map((key) => ({
      keyId: key.keyId,
      publicKey: toHex(key.publicKey),
      purposes: key.purposes,
      revokedAt: key.revokedAt === undefined ? null : new Date(key.revokedAt).toISOString(),
    })),
  };
}
