import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import pg from 'pg';
import { createLogger } from '@capstan/platform';
import { bytesEqual, WireFault } from '@capstan/protocol';
import { type AuditEntry, type AuditHead, EMPTY_HEAD, linkEntries } from '../audit/audit-chain.js';
import { HubConfig } from '../hub.config.js';
import { databaseUnavailable, hurtConstraint, isDataFault } from './database-faults.js';
import { connectionOptions } from './database.service.js';
import type { RecordChange } from './record-change.js';
import { type QueuedChange, type QueuedWork, WriteQueue } from './write-queue.js';
import { WRITE_STATEMENT, writeParameters } from './write-statement.js';

/** How long a change that nobody waits for may wait for company. */
const SOON_MS = 20;
const RETRY_MS = 250;
const MOST_WAITING = 10_000;
const DRAIN_MS = 2_000;
const AUDIT_KEY = 'audit_pkey';
/**
 * The statement is prepared once, when the tables may still be empty, and PostgreSQL would keep the plan that suits those:
 * one that reads all commands at each write (measured: 0.3 ms of its CPU per command, and 1 ms after 20,000 of them). All
 * that is written is found by key.
 */
const BY_KEY_ONLY = ['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin'].map((name) => `-c ${name}=off`).join(' ');

export interface WriteOptions {
  /** The database is away: tell the caller (default), or keep the change and write it when the database is back. */
  whenAway?: 'refuse' | 'keep';
  /** Nobody waits for it: it may wait a moment for company. */
  isLazy?: boolean;
}

/**
 * Writes the hub's record: one connection, one statement at a time, everything that came in meanwhile in the next one
 * (group commit). It alone appends to the audit chain, so that order and hashes need no lock.
 */
@Injectable()
export class RecordWriter implements OnApplicationShutdown {
  /** Called each time the database is there again after it was away. */
  onReturn: () => void = () => undefined;
  /** Called with the first and last sequence of the audit entries that were just committed here. */
  onCommitted: (first: bigint, last: bigint) => void = () => undefined;

  private readonly log = createLogger('hub.writer');
  private readonly queue = new WriteQueue();
  private client: pg.Client | undefined;
  private head: AuditHead | undefined;
  private draining: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private wasAway = false;
  private isClosing = false;

  constructor(private readonly config: HubConfig) {}

  /** Whether so much waits that nothing more should be taken from peers. */
  get isFull(): boolean {
    return this.queue.length >= MOST_WAITING;
  }

  /** Resolves once the change is committed. @throws LocalFault `database-unavailable`, DatabaseError for wrong data */
  write(change: RecordChange, options: WriteOptions = {}): Promise<void> {
    if (this.isFull || this.isClosing) return Promise.reject(databaseUnavailable());
    const settle = Promise.withResolvers<void>();
    this.queue.push({ change, isKept: options.whenAway === 'keep', settle });
    this.schedule(options.isLazy === true ? SOON_MS : 0);
    return settle.promise;
  }

  /** Runs `work` in a transaction of its own, together with the audit entries that it returns. */
  async transaction<T>(work: (client: pg.Client) => Promise<{ result: T; audit: readonly AuditEntry[] }>): Promise<T> {
    if (this.isFull || this.isClosing) throw databaseUnavailable();
    const settle = Promise.withResolvers<void>();
    let outcome: { result: T } | undefined;
    this.queue.push({
      settle,
      work: async (client) => {
        const { result, audit } = await work(client);
        outcome = { result };
        return audit;
      },
    });
    this.schedule(0);
    await settle.promise;
    if (outcome === undefined) throw databaseUnavailable();
    return outcome.result;
  }

  /** Resolves once everything that was asked for so far is written or refused. */
  async idle(): Promise<void> {
    this.schedule(0);
    while (this.queue.length > 0 || this.draining !== undefined) {
      await (this.draining ?? new Promise((resolve) => setImmediate(resolve)));
    }
  }

  async onApplicationShutdown(): Promise<void> {
    this.isClosing = true;
    await Promise.race([this.idle(), new Promise((resolve) => setTimeout(resolve, DRAIN_MS).unref())]);
    clearTimeout(this.timer);
    for (const item of this.queue.drain()) item.settle.reject(databaseUnavailable());
    this.disconnect();
  }

  private schedule(afterMs: number): void {
    if (this.draining !== undefined) return;
    if (afterMs > 0) {
      this.timer ??= setTimeout(() => {
        this.startDrain();
      }, afterMs);
      return;
    }
    clearTimeout(this.timer);
    this.timer = undefined;
    this.startDrain();
  }

  private startDrain(): void {
    this.timer = undefined;
    if (this.draining !== undefined || this.queue.length === 0) return;
    // One turn of the loop later, so that requests that arrived together are written together.
    this.draining = new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.drain())
      .finally(() => {
        this.draining = undefined;
        if (this.queue.length > 0 && this.timer === undefined) this.schedule(this.wasAway ? RETRY_MS : 0);
      });
  }

  private async drain(): Promise<void> {
    while (this.queue.length > 0) {
      if (!(await this.isConnected())) return;
      const next = this.queue.take();
      const isWritten = Array.isArray(next) ? await this.writeBatch(next) : await this.runWork(next);
      if (!isWritten) return;
    }
  }

  /** False where the database went away. */
  private async writeBatch(batch: readonly QueuedChange[]): Promise<boolean> {
    const { client, head } = this.connected();
    const entries = batch.flatMap((item) => item.change.audit);
    const linked = linkEntries(head, entries, Date.now());
    try {
      const values = writeParameters(
        batch.map((item) => item.change),
        linked.rows,
      );
      await client.query({ name: 'write', text: WRITE_STATEMENT, values });
      this.head = linked.head;
      this.committed(head, linked.head);
    } catch (error) {
      return this.afterFailure(batch, linked.head, error);
    }
    for (const item of batch) item.settle.resolve();
    return true;
  }

  private async afterFailure(batch: readonly QueuedChange[], wanted: AuditHead, error: unknown): Promise<boolean> {
    if (hurtConstraint(error) === AUDIT_KEY) {
      // Somebody else appended: another hub on the same database. Take the chain up where it is now.
      this.queue.putBack(batch);
      this.head = undefined;
      return true;
    }
    if (isDataFault(error)) {
      await this.isolate(batch, error);
      return true;
    }
    this.wasAway = true;
    this.log.warn({ err: error, changes: batch.length, msg: 'the database went away during a write' });
    this.disconnect();
    if (await this.isOnDisk(wanted, batch)) {
      for (const item of batch) item.settle.resolve();
      return true;
    }
    this.refuseOrKeep(batch, error);
    return false;
  }

  /** One wrong change must not take down those that shared its statement. */
  private async isolate(batch: readonly QueuedChange[], error: unknown): Promise<void> {
    const [only] = batch;
    if (batch.length === 1 && only !== undefined) {
      only.settle.reject(error);
      return;
    }
    for (const [at, item] of batch.entries()) {
      // Where another hub was quicker with the one before, the chain's end is read again first.
      if ((await this.isConnected()) && (await this.writeBatch([item]))) continue;
      this.refuseOrKeep(batch.slice(at + 1), error);
      return;
    }
  }

  /** The connection broke with the commit in flight: the chain's end tells whether it was done. */
  private async isOnDisk(wanted: AuditHead, batch: readonly QueuedChange[]): Promise<boolean> {
    if (batch.every((item) => item.change.audit.length === 0) || !(await this.isConnected())) return false;
    const { head } = this.connected();
    return head.sequence === wanted.sequence && bytesEqual(head.hash, wanted.hash);
  }

  private refuseOrKeep(items: readonly QueuedChange[], error: unknown): void {
    this.queue.putBack(items.filter((item) => item.isKept));
    for (const item of items) if (!item.isKept) item.settle.reject(databaseUnavailable(error));
  }

  private async runWork({ work, settle }: QueuedWork): Promise<boolean> {
    const { client, head } = this.connected();
    try {
      await client.query('BEGIN');
      const linked = linkEntries(head, await work(client), Date.now());
      await client.query({ name: 'write', text: WRITE_STATEMENT, values: writeParameters([], linked.rows) });
      await client.query('COMMIT');
      this.head = linked.head;
      this.committed(head, linked.head);
      settle.resolve();
    } catch (error) {
      if (hurtConstraint(error) === AUDIT_KEY) {
        // Nothing of it was committed: once more from where the chain is now.
        this.queue.putBack([{ work, settle }]);
        this.disconnect();
        return true;
      }
      // A fresh connection has no open transaction, whatever it was that failed.
      this.disconnect();
      settle.reject(error instanceof WireFault || isDataFault(error) ? error : databaseUnavailable(error));
    }
    return true;
  }

  private committed(before: AuditHead, after: AuditHead): void {
    if (after.sequence > before.sequence) this.onCommitted(before.sequence + 1n, after.sequence);
  }

  private connected(): { client: pg.Client; head: AuditHead } {
    if (this.client === undefined || this.head === undefined) throw databaseUnavailable();
    return { client: this.client, head: this.head };
  }

  /** Connects where it must. While the database is away, what does not wait for it is refused at once. */
  private async isConnected(): Promise<boolean> {
    if (this.client !== undefined && (await this.knowsHead(this.client))) return true;
    const client = new pg.Client({ ...connectionOptions(this.config), options: BY_KEY_ONLY });
    client.on('error', () => {
      if (this.client === client) this.client = undefined;
    });
    try {
      await client.connect();
      this.head = await readHead(client);
      this.client = client;
    } catch (error) {
      void client.end().catch(() => undefined);
      this.away(error);
      return false;
    }
    if (this.wasAway) {
      this.wasAway = false;
      this.log.info({ msg: 'the database is back', waiting: this.queue.length });
      this.onReturn();
    }
    return true;
  }

  /** Reads the chain's end again where another hub has written; false where the connection is of no use. */
  private async knowsHead(client: pg.Client): Promise<boolean> {
    try {
      this.head ??= await readHead(client);
      return true;
    } catch {
      this.disconnect();
      return false;
    }
  }

  private away(error: unknown): void {
    if (!this.wasAway) this.log.error({ err: error, msg: 'the database is away' });
    this.wasAway = true;
    const waiting = this.queue.drain();
    const isKept = (item: (typeof waiting)[number]): boolean => 'change' in item && item.isKept;
    this.queue.putBack(waiting.filter(isKept));
    for (const item of waiting) if (!isKept(item)) item.settle.reject(databaseUnavailable(error));
  }

  /** Waits for nothing: a server that hangs would keep the goodbye as well. */
  private disconnect(): void {
    void this.client?.end().catch(() => undefined);
    this.client = undefined;
  }
}

async function readHead(client: pg.Client): Promise<AuditHead> {
  const { rows } = await client.query<{ sequence: string; hash: Buffer }>(
    'SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1',
  );
  const [last] = rows;
  return last === undefined ? EMPTY_HEAD : { sequence: BigInt(last.sequence), hash: new Uint8Array(last.hash) };
}
