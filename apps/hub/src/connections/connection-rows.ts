import { eq, inArray } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import type { KeyPurpose, KeyRecord } from '@capstan/identity';
import { LocalFault } from '@capstan/platform';
import { type Envelope, keyId } from '@capstan/protocol';
import type { Database } from '../database/database.service.js';
import { connections, keys } from '../database/schema.js';
import { readStatements, type StoredStatement } from '../keys/statement-rows.js';
import { type Connection, makeConnection } from './connection.js';
import { isConnectionState, isMover } from './connection-state.js';

type KeyRow = typeof keys.$inferSelect;
type ConnectionRow = typeof connections.$inferSelect;

/** Every connection, or those of `ids`, oldest first. */
export async function readConnections(db: Database, ids?: readonly string[]): Promise<Connection[]> {
  const statements = await readStatements(db);
  const replaced = await replacedKeys(db, statements);
  const reaperKeys = alias(keys, 'reaper_keys');
  const rows = await db
    .select({ connection: connections, identityKey: keys, reaperKey: reaperKeys })
    .from(connections)
    .innerJoin(keys, eq(keys.keyId, connections.identityKeyId))
    .innerJoin(reaperKeys, eq(reaperKeys.keyId, connections.reaperKeyId))
    .where(ids === undefined ? undefined : inArray(connections.id, [...ids]))
    .orderBy(connections.createdAt);
  return rows.map((row) =>
    connectionOf(row.connection, row.identityKey, row.reaperKey, historyOf(row.identityKey, statements, replaced)),
  );
}

type KeyHistory = Pick<Connection, 'formerKeys' | 'keyStatements'>;

/** By key id, each with its end: the earliest, where the root key has spoken after the key itself. */
async function replacedKeys(db: Database, statements: readonly StoredStatement[]): Promise<Map<string, KeyRecord>> {
  const ends = new Map<string, number>();
  for (const { oldKeyId, oldUntilMs } of statements)
    ends.set(oldKeyId, Math.min(oldUntilMs, ends.get(oldKeyId) ?? oldUntilMs));
  if (ends.size === 0) return new Map();
  const rows = await db
    .select()
    .from(keys)
    .where(inArray(keys.keyId, [...ends.keys()]));
  return new Map(rows.map((row) => [row.keyId, { ...keyOf(row), validUntil: ends.get(row.keyId) ?? 0 }]));
}

/** The keys before this one, and what led from one to the next, oldest first. */
function historyOf(
  { keyId: newest }: KeyRow,
  statements: readonly StoredStatement[],
  replaced: ReadonlyMap<string, KeyRecord>,
): KeyHistory {
  const formerKeys: KeyRecord[] = [];
  const keyStatements: Envelope[] = [];
  for (let at = newest; ;) {
    const statement = statements.find(({ newKeyId }) => newKeyId === at);
    const old = replaced.get(statement?.oldKeyId ?? '');
    if (statement === undefined || old === undefined) return { formerKeys, keyStatements };
    formerKeys.unshift(old);
    keyStatements.unshift(statement.envelope);
    at = old.keyId;
  }
}

function connectionOf(row: ConnectionRow, identityKey: KeyRow, reaperKey: KeyRow, history: KeyHistory): Connection {
  const { id, instanceId, displayName, state, capabilities, createdAt, changedAt, lastSeenAt, wishedAt } = row;
  if (!isConnectionState(state)) throw new LocalFault('database-content', `Connection ${id} has no known state.`);
  return makeConnection({
    id,
    instanceId,
    displayName,
    state,
    suspendedBy: row.suspendedBy.filter(isMover),
    wishedAt,
    identityKey: keyOf(identityKey),
    ...history,
    rootKey: row.rootKey,
    reaperKey: keyOf(reaperKey),
    sealingKey: row.sealingKey,
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
