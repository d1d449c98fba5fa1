import { asc, eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import type { VerifiedKeyStatement } from '@capstan/identity';
import {
  decodeEnvelope,
  encodeEnvelope,
  type Envelope,
  fromBinary,
  KeyStatementSchema,
  WireFault,
} from '@capstan/protocol';
import type { Database } from '../database/database.service.js';
import { keys, keyStatements } from '../database/schema.js';

/** A statement that was verified before it was stored. */
export interface StoredStatement {
  digest: Uint8Array;
  owner: string;
  newKeyId: string;
  oldKeyId: string;
  envelope: Envelope;
  /** When the old key ended, or ends: milliseconds. */
  oldUntilMs: number;
}

/** Every statement, or those of one owner, oldest first. */
export async function readStatements(db: Database, owner?: string): Promise<StoredStatement[]> {
  const rows = await db
    .select()
    .from(keyStatements)
    .where(owner === undefined ? undefined : eq(keyStatements.owner, owner))
    .orderBy(asc(keyStatements.receivedAt));
  return rows.map(({ digest, owner: of, newKeyId, oldKeyId, envelope }) => {
    const decoded = decodeEnvelope(envelope);
    return { digest, owner: of, newKeyId, oldKeyId, envelope: decoded, oldUntilMs: endOfOld(decoded) };
  });
}

/** Stores a statement and pins its new key, in the transaction of `client`. @throws WireFault `key-statement` */
export async function insertStatement(
  client: pg.Client,
  { newKey, oldKey, digest }: VerifiedKeyStatement,
  envelope: Envelope,
  receivedAt: Date,
): Promise<void> {
  const db = drizzle(client);
  const { keyId, owner, publicKey, epoch } = newKey;
  const { rowCount } = await db
    .insert(keys)
    .values({ keyId, owner, publicKey, purposes: [...newKey.purposes], epoch })
    .onConflictDoNothing();
  if (rowCount !== 1) throw new WireFault('key-statement', `${keyId} is pinned already`);
  const row = {
    digest,
    owner,
    newKeyId: keyId,
    oldKeyId: oldKey.keyId,
    envelope: encodeEnvelope(envelope),
    receivedAt,
  };
  await db.insert(keyStatements).values(row);
}

function endOfOld({ payload }: Envelope): number {
  const { oldUntilMs, header } = fromBinary(KeyStatementSchema, payload);
  return Number(oldUntilMs === 0n ? (header?.issuedAtMs ?? 0n) : oldUntilMs);
}
