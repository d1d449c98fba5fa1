import { and, eq, gt, isNull, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import type { KeyRecord } from '@capstan/identity';
import { WireFault } from '@capstan/protocol';
import { type Connection, makeConnection } from '../connections/connection.js';
import { connections, enrollmentTokens, keys, keyStatements } from '../database/schema.js';

/** A connection as it is inserted, with the statement that it stands on. */
export interface NewConnection {
  connection: Connection;
  statement: Uint8Array;
  statementDigest: Uint8Array;
}

/**
 * Spends the token and pins the keys, in the transaction of `client`.
 *
 * @returns the connection, with the epochs under which its keys are known here
 *
 * @throws WireFault `enrollment-token` where the token was spent meanwhile; `enrollment-mismatch` where a key is another's
 */
export async function insertConnection(client: pg.Client, tokenId: string, made: NewConnection): Promise<Connection> {
  const db = drizzle(client);
  const { connection, statement, statementDigest } = made;
  await checkUnrevoked(client, connection.instanceId);
  const [identity, reaper] = [await pin(client, connection.identityKey), await pin(client, connection.reaperKey)];
  const { id, instanceId, displayName, state, identityKey, reaperKey, createdAt, changedAt } = connection;
  await db.insert(connections).values({
    id,
    instanceId,
    displayName,
    state,
    identityKeyId: identityKey.keyId,
    reaperKeyId: reaperKey.keyId,
    capabilities: [...connection.capabilities],
    sealingKey: connection.sealingKey,
    rootKey: connection.rootKey,
    enrollment: statement,
    wishedAt: connection.wishedAt,
    createdAt,
    changedAt,
  });
  const isUnspent = and(
    eq(enrollmentTokens.id, tokenId),
    isNull(enrollmentTokens.redeemedAt),
    gt(enrollmentTokens.expiresAt, createdAt),
  );
  const spent = { redeemedAt: createdAt, enrollmentDigest: statementDigest, connectionId: id };
  const { rowCount } = await db.update(enrollmentTokens).set(spent).where(isUnspent);
  if (rowCount !== 1) throw new WireFault('enrollment-token', 'spent meanwhile');
  return makeConnection({ ...connection, identityKey: identity, reaperKey: reaper });
}

/** A name that was revoked is nobody's any more; asked here too, since it may have been revoked a moment ago. */
async function checkUnrevoked(client: pg.Client, instanceId: string): Promise<void> {
  const isRevoked = and(eq(connections.instanceId, instanceId), eq(connections.state, 'REVOKED'));
  const [revoked] = await drizzle(client).select({ id: connections.id }).from(connections).where(isRevoked).limit(1);
  if (revoked !== undefined) throw new WireFault('enrollment-mismatch', `${instanceId} was revoked`);
}

/** A key that is known stays what it is: the same owner may bring it again, nobody else, and never once it is revoked or replaced. */
async function pin(client: pg.Client, key: KeyRecord): Promise<KeyRecord> {
  const db = drizzle(client);
  const { keyId, owner, publicKey, epoch } = key;
  await db
    .insert(keys)
    .values({ keyId, owner, publicKey, purposes: [...key.purposes], epoch })
    .onConflictDoNothing();
  const isSame = and(
    eq(keys.owner, owner),
    eq(keys.purposes, sql`${sql.param([...key.purposes])}::text[]`),
    isNull(keys.revokedAt),
  );
  const [kept] = await db
    .select({ epoch: keys.epoch, replacedBy: keyStatements.newKeyId })
    .from(keys)
    .leftJoin(keyStatements, eq(keyStatements.oldKeyId, keys.keyId))
    .where(and(eq(keys.keyId, keyId), isSame));
  // Without a statement that has replaced it the join leaves null.
  if (kept?.replacedBy !== null)
    throw new WireFault('enrollment-mismatch', `key ${keyId} is pinned for somebody or something else`);
  return { ...key, epoch: kept.epoch };
}
