import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { and, eq, inArray, isNull } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import {
  envelopeDigest,
  type KeyRecord,
  KeyRing,
  verifyKeyStatement,
  type VerifiedKeyStatement,
} from '@capstan/identity';
import { createLogger } from '@capstan/platform';
import {
  decodeStrict,
  Direction,
  type Envelope,
  faultSentence,
  KeyStatementSchema,
  toHex,
  WireFault,
} from '@capstan/protocol';
import type { AuditEntry } from '../audit/audit-chain.js';
import { type Connection, makeConnection } from '../connections/connection.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { RevocationEpoch } from '../connections/revocation-epoch.js';
import { DatabaseService } from '../database/database.service.js';
import { RecordWriter } from '../database/record-writer.js';
import { connections, keys, keyStatements } from '../database/schema.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { insertStatement } from './statement-rows.js';

/** Takes instances' statements that another key is theirs from now on. */
@Injectable()
export class InstanceKeys implements OnModuleInit, OnModuleDestroy {
  private readonly log = createLogger('hub.keys');
  private readonly timers = new Set<NodeJS.Timeout>();
  /** Keys of which it was told that they have signed for two. */
  private readonly forks = new Set<string>();

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly links: LinkRegistry,
    private readonly revocations: RevocationEpoch,
    private readonly database: DatabaseService,
    private readonly writer: RecordWriter,
  ) {}

  onModuleInit(): void {
    for (const connection of this.connections.all()) this.watchEnd(connection);
  }

  onModuleDestroy(): void {
    for (const timer of this.timers) clearTimeout(timer);
  }

  /**
   * Takes the statement of an instance; on disk and audited when this resolves. One that was taken before has no effect.
   *
   * @param instance whose it must be @throws WireFault as `verifyKeyStatement`; `instance-unknown`, `key-revoked`
   */
  async take(instance: string, envelope: Envelope): Promise<void> {
    const connection = this.connections.ofInstance(instance);
    if (await this.isStored(envelope)) return;
    if (connection.state === 'REVOKED') throw new WireFault('key-revoked', instance);
    const verified = await this.verified(connection, envelope);
    // Said anew by whoever has not heard that it was taken.
    if (verified.newKey.keyId === connection.identityKey.keyId) return;
    if (this.identity.ring.get(verified.newKey.keyId) !== undefined)
      throw new WireFault('key-statement', 'the key of the hub');
    checkOneRecovery(connection, verified);
    const revocationEpoch = await this.writer.transaction((client) =>
      this.write(client, connection, verified, envelope),
    );
    if (revocationEpoch !== undefined) this.revocations.committed(revocationEpoch);
    this.keep(connection.id, verified, envelope);
  }

  private async verified(connection: Connection, envelope: Envelope): Promise<VerifiedKeyStatement> {
    const { identityKey, formerKeys, rootKey } = connection;
    try {
      return verifyKeyStatement(envelope, {
        // Not the other of its two keys: nobody takes the reaper's place.
        keys: new KeyRing([...formerKeys, identityKey], Date.now),
        hubId: this.identity.hubId,
        direction: Direction.SPOKE_TO_HUB,
        rootKey,
        nowMs: Date.now(),
      });
    } catch (error) {
      if (error instanceof WireFault && error.code === 'key-fork') await this.forked(connection, envelope);
      throw error;
    }
  }

  /** Whoever holds an old key has signed for two: the owner has to hear of it, once for each key that was so used. */
  private async forked({ id, instanceId, identityKey }: Connection, envelope: Envelope): Promise<void> {
    const { oldKeyId, newKey } = decodeStrict(KeyStatementSchema, envelope.payload);
    if (this.forks.has(oldKeyId)) return;
    this.forks.add(oldKeyId);
    const names = { instance: instanceId, oldKey: oldKeyId, newKey: newKey?.keyId ?? '', believed: identityKey.keyId };
    this.log.error({ ...names, msg: 'a key has signed for two keys in its place: it is in more hands than one' });
    const detail = { ...names, statement: toHex(envelopeDigest(envelope)) };
    const audit = [{ kind: 'key.forked', subject: id, atMs: Date.now(), detail }];
    await this.writer.transaction(() => Promise.resolve({ result: undefined, audit }));
  }

  /** The same for an envelope that came without a link. @throws WireFault as `take`; `key-unknown` */
  async takeOpen(envelope: Envelope): Promise<{ instance: string }> {
    // Its issuer is read before its key can verify it, and used for nothing but to find that key.
    const instance = decodeStrict(KeyStatementSchema, envelope.payload).header?.issuer ?? '';
    if (this.connections.find(instance) === undefined) throw new WireFault('key-unknown', 'no such instance');
    await this.take(instance, envelope);
    return { instance };
  }

  /** Another replica has taken a statement: what the old key holds here ends when its time does. */
  adopted(id: string): void {
    const connection = this.connections.get(id);
    if (connection === undefined) return;
    this.cut(connection);
    this.watchEnd(connection);
  }

  private async isStored(envelope: Envelope): Promise<boolean> {
    const isIt = eq(keyStatements.digest, envelopeDigest(envelope));
    return (await this.database.db.select({ owner: keyStatements.owner }).from(keyStatements).where(isIt)).length > 0;
  }

  private async write(
    client: pg.Client,
    { id, identityKey, formerKeys }: Connection,
    verified: VerifiedKeyStatement,
    envelope: Envelope,
  ): Promise<{ result: bigint | undefined; audit: AuditEntry[] }> {
    const db = drizzle(client);
    const { newKey, oldKey, by } = verified;
    const now = new Date();
    const isIt = eq(connections.id, id);
    const [row] = await db.select({ keyId: connections.identityKeyId }).from(connections).where(isIt).for('update');
    if (row?.keyId !== identityKey.keyId) throw new WireFault('key-statement', `${oldKey.keyId} was replaced already`);
    await insertStatement(client, verified, envelope, now);
    await db.update(connections).set({ identityKeyId: newKey.keyId }).where(isIt);
    const isRecovery = by === 'root-key';
    const lost = isRecovery ? keysFrom(oldKey.keyId, [...formerKeys, identityKey]) : [];
    if (isRecovery)
      await db
        .update(keys)
        .set({ revokedAt: new Date(oldKey.revokedAt ?? now) })
        .where(and(inArray(keys.keyId, lost), isNull(keys.revokedAt)));
    const revocationEpoch = isRecovery ? await this.revocations.raise(client) : undefined;
    const detail = {
      instance: newKey.owner,
      oldKey: oldKey.keyId,
      newKey: newKey.keyId,
      epoch: newKey.epoch,
      by,
      oldUntil: new Date(oldKey.validUntil ?? now).toISOString(),
      statement: toHex(verified.digest),
      ...(revocationEpoch === undefined ? {} : { revocationEpoch: String(revocationEpoch) }),
    };
    return { result: revocationEpoch, audit: [{ kind: 'key.replaced', subject: id, atMs: now.getTime(), detail }] };
  }

  private keep(id: string, { newKey, oldKey, by }: VerifiedKeyStatement, envelope: Envelope): void {
    const current = this.connections.get(id);
    if (current === undefined) return;
    const { formerKeys, keyStatements } = current;
    const before = formerKeys.findIndex(({ keyId }) => keyId === oldKey.keyId);
    const kept = makeConnection({
      ...current,
      identityKey: newKey,
      // What came after a key that the root key replaces did not come from the owner.
      formerKeys: [...(before < 0 ? formerKeys : formerKeys.slice(0, before)), oldKey],
      keyStatements: [...(before < 0 ? keyStatements : keyStatements.slice(0, before)), envelope],
    });
    this.connections.keep(kept);
    this.log.info({ instance: kept.instanceId, keyId: newKey.keyId, by, msg: 'an instance has another key' });
    if (by === 'root-key') this.cut(kept);
    else this.watchEnd(kept);
  }

  /** Cuts the link of a key whose time ends, in the moment it does. */
  private watchEnd(connection: Connection): void {
    const { validUntil } = connection.formerKeys.at(-1) ?? {};
    if (validUntil === undefined || validUntil <= Date.now()) return;
    const timer = setTimeout(
      () => {
        this.timers.delete(timer);
        const now = this.connections.get(connection.id);
        if (now !== undefined) this.cut(now);
      },
      validUntil - Date.now() + 1,
    );
    this.timers.add(timer.unref());
  }

  private cut({ instanceId, keys: known }: Connection): void {
    const link = this.links.of(instanceId);
    const key = link === undefined ? undefined : known.get(link.peerKeyId);
    if (link === undefined || (key !== undefined && key.revokedAt === undefined)) return;
    void link.close('key-revoked', faultSentence('key-revoked'));
  }
}

/**
 * The root key also replaces a key whose place another has taken: a thief may have put his own there. But only once.
 *
 * @throws WireFault `key-fork`
 */
function checkOneRecovery({ formerKeys }: Connection, { oldKey, by }: VerifiedKeyStatement): void {
  if (by === 'old-key') return;
  const later = formerKeys.slice(formerKeys.findIndex(({ keyId }) => keyId === oldKey.keyId));
  const isFormer = formerKeys.some(({ keyId }) => keyId === oldKey.keyId);
  if (isFormer && later.some(({ revokedAt }) => revokedAt !== undefined))
    throw new WireFault('key-fork', `${oldKey.keyId} was recovered already`);
}

/** A key and those that came after it. */
function keysFrom(keyId: string, inOrder: readonly KeyRecord[]): string[] {
  return inOrder.slice(inOrder.findIndex((key) => key.keyId === keyId)).map((key) => key.keyId);
}
