import { eq } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import type { KeyPurpose, KeyRecord } from '@capstan/identity';
import { LocalFault } from '@capstan/platform';
import { keyId } from '@capstan/protocol';
import type { Database } from '../database/database.service.js';
import { connections, keys } from '../database/schema.js';
import { type Connection, makeConnection } from './connection.js';
import { isConnectionState } from './connection-state.js';

type KeyRow = typeof keys.$inferSelect;
type ConnectionRow = typeof connections.$inferSelect;

/** Every connection, oldest first. */
export async function readConnections(db: Database): Promise<Connection[]> {
  const reaperKeys = alias(keys, 'reaper_keys');
  const rows = await db
    .select({ connection: connections, identityKey: keys, reaperKey: reaperKeys })
    .from(connections)
    .innerJoin(keys, eq(keys.keyId, connections.identityKeyId))
    .innerJoin(reaperKeys, eq(reaperKeys.keyId, connections.reaperKeyId))
    .orderBy(connections.createdAt);
  return rows.map((row) => connectionOf(row.connection, row.identityKey, row.reaperKey));
}

function connectionOf(row: ConnectionRow, identityKey: KeyRow, reaperKey: KeyRow): Connection {
  const { id, instanceId, displayName, state, capabilities, createdAt, changedAt, lastSeenAt } = row;
  if (!isConnectionState(state)) throw new LocalFault('database-content', `Connection ${id} has no known state.`);
  return makeConnection({
    id,
    instanceId,
    displayName,
    state,
    identityKey: keyOf(identityKey),
    reaperKey: keyOf(reaperKey),
    capabilities,
    createdAt,
    changedAt,
    lastSeenAt,
  });
}

function keyOf(row: KeyRow): KeyRecord {
  return {
    keyId: keyId(row.keyId),
    owner: row.owner,
    publicKey: row.publicKey,
    purposes: row.purposes as KeyPurpose[],
    epoch: row.epoch,
    ...(row.revokedAt === null ? {} : { revokedAt: row.revokedAt.getTime() }),
  };
}
