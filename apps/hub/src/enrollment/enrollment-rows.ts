import { and, eq, gt, isNull, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import type { KeyRecord } from '@capstan/identity';
import { WireFault } from '@capstan/protocol';
import type { Connection } from '../connections/connection.js';
import { connections, enrollmentTokens, keys } from '../database/schema.js';

/** A connection as it is inserted, with the statement that it stands on. */
export interface NewConnection {
  connection: Connection;
  statement: Uint8Array;
  statementDigest: Uint8Array;
}

/**
 * Spends the token and pins the keys, in the transaction of `client`.
 *
 * @throws WireFault `enrollment-token` where the token was spent meanwhile; `enrollment-mismatch` where a key is another's
 */
export async function insertConnection(client: pg.Client, tokenId: string, made: NewConnection): Promise<void> {
  const db = drizzle(client);
  const { connection, statement, statementDigest } = made;
  for (const key of [connection.identityKey, connection.reaperKey]) await pin(client, key);
  const { id, instanceId, displayName, state, identityKey, reaperKey, createdAt, changedAt } = connection;
  await db.insert(connections).values({
    id,
    instanceId,
    displayName,
    state,
    identityKeyId: identityKey.keyId,
    reaperKeyId: reaperKey.keyId,
    capabilities: [...connection.capabilities],
    enrollment: statement,
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
}

/** A key that is known stays what it is: the same owner may bring it again, nobody else, and never once it is revoked. */
async function pin(client: pg.Client, key: KeyRecord): Promise<void> {
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
    .select({ keyId: keys.keyId })
    .from(keys)
    .where(and(eq(keys.keyId, keyId), isSame));
  if (kept === undefined)
    throw new WireFault('enrollment-mismatch', `key ${keyId} is pinned for somebody or something else`);
}
