import { join } from 'node:path';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { makeKeyStatement, SigningKey, verifyKeyStatement } from '@capstan/identity';
import { createLogger, LocalFault } from '@capstan/platform';
import { Direction, toHex, type Envelope } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { RecordWriter } from '../database/record-writer.js';
import { HubConfig } from '../hub.config.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { insertStatement, readStatements } from './statement-rows.js';

/** Statements are evidence, and the way on for a spoke that was long away. */
const LIFETIME_MS = 10 * 365 * 24 * 3_600_000;

/** A hub's key that has taken another's place. */
export interface RotatedKey {
  keyId: string;
  epoch: number;
  oldKeyId: string;
  /** Until when the old one is believed too, ISO 8601. */
  oldUntil: string;
}

type Listener = (statement: Envelope, oldKeyId: string) => void;

/**
 * The hub's own keys, one after the other: the first in `identity.key`, the others in `identity-<epoch>.key`. Which is
 * the newest says the database, so that a key is either replaced with its statement or not at all.
 */
@Injectable()
export class HubKeys implements OnModuleInit {
  private readonly log = createLogger('hub.keys');
  private readonly statements: { oldKeyId: string; envelope: Envelope }[] = [];
  private readonly listeners: Listener[] = [];
  private rotating: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly config: HubConfig,
    private readonly identity: HubIdentity,
    private readonly database: DatabaseService,
    private readonly writer: RecordWriter,
  ) {}

  /** @throws LocalFault `key-file-…`, `hub-key-missing` where a key's file is not the key that the database names */
  onModuleInit(): Promise<void> {
    return this.load();
  }

  /** Takes up the keys that another replica has made. @throws LocalFault as at the start */
  reload(): Promise<void> {
    return this.load(this.listeners);
  }

  private async load(listeners: readonly Listener[] = []): Promise<void> {
    for (const { envelope, newKeyId } of await readStatements(this.database.db, this.identity.hubId)) {
      if (this.identity.ring.get(newKeyId) !== undefined) continue;
      const key = await SigningKey.load(this.fileOf(this.identity.epoch + 1));
      if (key.keyId !== newKeyId)
        throw new LocalFault(
          'hub-key-missing',
          'The key of this hub is not the one that its database names.',
          newKeyId,
        );
      const oldKeyId = this.identity.key.keyId;
      this.take(key, envelope, 'exempt');
      for (const listener of listeners) listener(envelope, oldKeyId);
    }
  }

  /** `listener` is called in the turn in which another key is the newest; it must not throw. */
  onReplaced(listener: Listener): void {
    this.listeners.push(listener);
  }

  /** The statements that lead from a key of this hub to the newest one, in their order; none for a stranger's key. */
  after(keyId: string): Envelope[] {
    const at = this.statements.findIndex(({ oldKeyId }) => oldKeyId === keyId);
    return at < 0 ? [] : this.statements.slice(at).map(({ envelope }) => envelope);
  }

  /**
   * Makes another key the hub's own, on disk and audited when this resolves; the one before is believed for `overlapMs`
   * longer.
   *
   * @throws LocalFault `database-unavailable`, `key-file-…`
   */
  rotate(by: string, overlapMs: number): Promise<RotatedKey> {
    const rotated = this.rotating.then(() => this.rotateNow(by, overlapMs));
    this.rotating = rotated.catch(() => undefined);
    return rotated;
  }

  private async rotateNow(by: string, overlapMs: number): Promise<RotatedKey> {
    const { hubId, ring, key: before, epoch } = this.identity;
    const old = ring.get(before.keyId);
    if (old === undefined) throw new LocalFault('hub-key-missing', 'The hub does not know its own key.');
    const key = await SigningKey.loadOrCreate(this.fileOf(epoch + 1));
    const nowMs = Date.now();
    const oldUntilMs = nowMs + overlapMs;
    const init = { old, key, by: before, hubId, direction: Direction.HUB_TO_SPOKE, lifetimeMs: LIFETIME_MS };
    const envelope = makeKeyStatement({ ...init, oldUntilMs, nowMs });
    const want = { keys: ring, hubId, direction: Direction.HUB_TO_SPOKE, nowMs };
    const verified = verifyKeyStatement(envelope, want);
    const oldUntil = new Date(oldUntilMs).toISOString();
    await this.writer.transaction(async (client) => {
      await insertStatement(client, verified, envelope, new Date(nowMs));
      const names = { oldKey: old.keyId, newKey: key.keyId, epoch: epoch + 1 };
      const detail = { ...names, oldUntil, statement: toHex(verified.digest), by };
      return { result: undefined, audit: [{ kind: 'key.replaced', subject: hubId, atMs: nowMs, detail }] };
    });
    this.take(key, envelope, 'checked');
    this.log.info({ keyId: key.keyId, oldKeyId: old.keyId, oldUntil, msg: 'this hub has another key' });
    for (const listener of this.listeners) listener(envelope, old.keyId);
    return { keyId: key.keyId, epoch: epoch + 1, oldKeyId: old.keyId, oldUntil };
  }

  private take(key: SigningKey, envelope: Envelope, expiry: 'checked' | 'exempt'): void {
    const { hubId, ring } = this.identity;
    const want = { keys: ring, hubId, direction: Direction.HUB_TO_SPOKE, nowMs: Date.now(), expiry };
    const verified = verifyKeyStatement(envelope, want);
    this.statements.push({ oldKeyId: verified.oldKey.keyId, envelope });
    this.identity.replace(key, verified);
  }

  private fileOf(epoch: number): string {
    return join(this.config.stateDirectory, `identity-${String(epoch)}.key`);
  }
}
