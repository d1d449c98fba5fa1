import { Injectable, type OnModuleInit } from '@nestjs/common';
import { and, eq, isNull } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { type KeyPurpose, type KeyRecord, KeyRing } from '@capstan/identity';
import { keyId, WireFault } from '@capstan/protocol';
import { RevocationEpoch } from '../connections/revocation-epoch.js';
import { DatabaseService } from '../database/database.service.js';
import { RecordWriter } from '../database/record-writer.js';
import { keys, operators } from '../database/schema.js';

/** A person who signs commands with a key of his own. */
export interface Operator {
  readonly id: string;
  readonly displayName: string;
  readonly key: KeyRecord;
  readonly createdAt: Date;
}

type Listener = (operator: Operator) => void;

/** Every operator, in memory as well as on disk: a kill must not wait for the database. */
@Injectable()
export class OperatorStore implements OnModuleInit {
  /** The keys of all operators, the revoked ones too. */
  readonly keys = new KeyRing();
  private readonly byId = new Map<string, Operator>();
  private readonly revoked: Listener[] = [];

  constructor(
    private readonly database: DatabaseService,
    private readonly writer: RecordWriter,
    private readonly revocations: RevocationEpoch,
  ) {}

  onModuleInit(): Promise<void> {
    return this.reload();
  }

  /** Takes up what other replicas have committed. */
  async reload(): Promise<void> {
    const rows = await this.database.db
      .select({ operator: operators, key: keys })
      .from(operators)
      .innerJoin(keys, eq(keys.keyId, operators.keyId))
      .orderBy(operators.createdAt);
    for (const { operator, key } of rows) {
      const { id, displayName, createdAt } = operator;
      // A revocation of this replica may be newer than what was read.
      if (this.byId.get(id)?.key.revokedAt === undefined) this.keep({ id, displayName, createdAt, key: keyOf(key) });
    }
  }

  /** `listener` is called in the turn in which an operator's key is refused; it must not throw. */
  onRevoked(listener: Listener): void {
    this.revoked.push(listener);
  }

  all(): Operator[] {
    return [...this.byId.values()];
  }

  find(id: string): Operator | undefined {
    return this.byId.get(id);
  }

  /** @throws WireFault `enrollment-mismatch` where the id is taken or the key is somebody's */
  async add(operator: Operator, by: string): Promise<void> {
    const { id, displayName, key, createdAt } = operator;
    await this.writer.transaction(async (client) => {
      const db = drizzle(client);
      const row = { owner: key.owner, publicKey: key.publicKey, purposes: [...key.purposes], epoch: key.epoch };
      const pinned = await db
        .insert(keys)
        .values({ keyId: key.keyId, ...row })
        .onConflictDoNothing();
      if (pinned.rowCount !== 1) throw new WireFault('enrollment-mismatch', `key ${key.keyId} is pinned already`);
      const added = await db
        .insert(operators)
        .values({ id, displayName, keyId: key.keyId, createdAt })
        .onConflictDoNothing();
      if (added.rowCount !== 1) throw new WireFault('enrollment-mismatch', `operator ${id} is known already`);
      const detail = { key: key.keyId, by };
      return { result: undefined, audit: [{ kind: 'operator.added', subject: id, atMs: createdAt.getTime(), detail }] };
    });
    this.keep(operator);
  }

  /** Refuses the operator's key from now on, for ever. @throws WireFault `not-found` */
  async revoke(id: string, by: string): Promise<Operator> {
    const known = this.byId.get(id);
    if (known === undefined) throw new WireFault('not-found', `operator ${id}`);
    if (known.key.revokedAt !== undefined) return known;
    const revokedAt = new Date();
    const epoch = await this.writer.transaction(async (client) => {
      const own = and(eq(keys.keyId, known.key.keyId), isNull(keys.revokedAt));
      await drizzle(client).update(keys).set({ revokedAt }).where(own);
      const result = await this.revocations.raise(client);
      const detail = { key: known.key.keyId, by, revocationEpoch: String(result) };
      return { result, audit: [{ kind: 'operator.revoked', subject: id, atMs: revokedAt.getTime(), detail }] };
    });
    const operator: Operator = { ...known, key: { ...known.key, revokedAt: revokedAt.getTime() } };
    this.keep(operator);
    this.revocations.committed(epoch);
    for (const listener of this.revoked) listener(operator);
    return operator;
  }

  private keep(operator: Operator): void {
    this.byId.set(operator.id, operator);
    this.keys.add(operator.key);
  }
}

function keyOf(row: typeof keys.$inferSelect): KeyRecord {
  return {
    keyId: keyId(row.keyId),
    owner: row.owner,
    publicKey: row.publicKey,
    purposes: row.purposes as KeyPurpose[],
    epoch: row.epoch,
    ...(row.revokedAt === null ? {} : { revokedAt: row.revokedAt.getTime() }),
  };
}
