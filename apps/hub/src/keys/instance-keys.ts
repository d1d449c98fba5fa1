import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import { envelopeDigest, KeyRing, verifyKeyStatement, type VerifiedKeyStatement } from '@capstan/identity';
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
    const verified = verifyKeyStatement(envelope, {
      // Of its two keys only this one: nobody takes the reaper's place.
      keys: new KeyRing([connection.identityKey], Date.now),
      hubId: this.identity.hubId,
      direction: Direction.SPOKE_TO_HUB,
      rootKey: connection.rootKey,
      nowMs: Date.now(),
    });
    if (this.identity.ring.get(verified.newKey.keyId) !== undefined)
      throw new WireFault('key-statement', 'the key of the hub');
    const revocationEpoch = await this.writer.transaction((client) =>
      this.write(client, connection, verified, envelope),
    );
    if (revocationEpoch !== undefined) this.revocations.committed(revocationEpoch);
    this.keep(connection.id, verified);
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
    { id }: Connection,
    verified: VerifiedKeyStatement,
    envelope: Envelope,
  ): Promise<{ result: bigint | undefined; audit: AuditEntry[] }> {
    const db = drizzle(client);
    const { newKey, oldKey, by } = verified;
    const now = new Date();
    const isIt = eq(connections.id, id);
    const [row] = await db.select({ keyId: connections.identityKeyId }).from(connections).where(isIt).for('update');
    if (row?.keyId !== oldKey.keyId) throw new WireFault('key-statement', `${oldKey.keyId} was replaced already`);
    await insertStatement(client, verified, envelope, now);
    await db.update(connections).set({ identityKeyId: newKey.keyId }).where(isIt);
    const isRecovery = by === 'root-key';
    if (isRecovery)
      await db
        .update(keys)
        .set({ revokedAt: new Date(oldKey.revokedAt ?? now) })
        .where(eq(keys.keyId, oldKey.keyId));
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

  private keep(id: string, { newKey, oldKey, by }: VerifiedKeyStatement): void {
    const current = this.connections.get(id);
    if (current === undefined) return;
    const kept = makeConnection({ ...current, identityKey: newKey, formerKeys: [...current.formerKeys, oldKey] });
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
    if (link === undefined || known.get(link.peerKeyId)?.revokedAt === undefined) return;
    void link.close('key-revoked', faultSentence('key-revoked'));
  }
}
