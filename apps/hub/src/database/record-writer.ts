import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import pg from 'pg';
import { createLogger } from '@capstan/platform';
import { bytesEqual, WireFault } from '@capstan/protocol';
import { type AuditEntry, type AuditHead, EMPTY_HEAD, linkEntries } from '../audit/audit-chain.js';
import { HubConfig } from '../hub.config.js';
import { KillJournal } from '../kill-journal/kill-journal.js';
import { databaseUnavailable, hurtConstraint, isDataFault } from './database-faults.js';
import { connectionOptions } from './database.service.js';
import type { RecordChange } from './record-change.js';
import { type QueuedChange, type QueuedWork, WriteQueue } from './write-queue.js';
import { WRITE_STATEMENT, writeParameters } from './write-statement.js';

/** What a kill waits at most for a disk before it is sent, where it waits at all; later it is on record late. */
export const KILL_RECORD_MS = 50;
/** What its answer waits at most for a disk: nobody is killed later for it. */
const KILL_ANSWER_MS = 1_000;
/** How long a change that nobody waits for may wait for company. */
const SOON_MS = 20;
const RETRY_MS = 250;
const IDLE_LOOK_MS = 5;
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

/** A change that belongs to a kill, on its way to two disks. */
export interface KillWrite {
  /** Resolves once one disk has it, and after a second in any case. Never rejects. */
  readonly recorded: Promise<void>;
  /** Resolves once the database has it. @throws DatabaseError for wrong data */
  readonly committed: Promise<void>;
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
  /** Nothing new is taken; what waits is written still. */
  private isClosing = false;
  /** Nothing is written any more. */
  private isClosed = false;

  constructor(
    private readonly config: HubConfig,
    private readonly journal: KillJournal<RecordChange>,
  ) {}

  /** Whether so much waits that nothing more should be taken from peers. */
  get isFull(): boolean {
    return this.queue.length >= MOST_WAITING;
  }

  /** Resolves once the change is committed. @throws LocalFault `database-unavailable`, DatabaseError for wrong data */
  write(change: RecordChange, options: WriteOptions = {}): Promise<void> {
    if (this.isFull || this.isClosing) return Promise.reject(databaseUnavailable());
    return this.enqueue(change, options);
  }

  /** Writes what belongs to a kill: kept while the database is away, and in the journal meanwhile, which outlives this process. */
  writeKill(change: RecordChange): KillWrite {
    const entry = this.journal.append(change);
    const committed = this.isClosing
      ? Promise.reject(databaseUnavailable())
      : this.enqueue(change, { whenAway: 'keep' });
    const settled = (err?: unknown): void => {
      // What the database will never take is not to be offered to it again; what it could not take now is.
      if (err === undefined || isDataFault(err)) entry.done();
    };
    committed.then(() => {
      settled();
    }, settled);
    entry.written.catch((err: unknown) => {
      this.log.error({ err, msg: 'a kill is not in the journal' });
    });
    return { recorded: firstOf([committed, entry.written], KILL_ANSWER_MS), committed };
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
      await (this.draining ?? new Promise((resolve) => setTimeout(resolve, IDLE_LOOK_MS)));
    }
  }

  async onApplicationShutdown(): Promise<void> {
    this.isClosing = true;
    await Promise.race([this.idle(), new Promise((resolve) => setTimeout(resolve, DRAIN_MS).unref())]);
    this.isClosed = true;
    clearTimeout(this.timer);
    this.refuseAll();
    this.disconnect();
    // What was on its way has its answer too, now that the connection is gone.
    await this.draining;
    await this.journal.close();
  }

  private enqueue(change: RecordChange, { whenAway, isLazy }: WriteOptions): Promise<void> {
    const settle = Promise.withResolvers<void>();
    this.queue.push({ change, isKept: whenAway === 'keep', settle });
    this.schedule(isLazy === true ? SOON_MS : 0);
    return settle.promise;
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
        if (this.isClosed) this.refuseAll();
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
      const isThere = await this.isConnected();
      if (isThere && (await this.writeBatch([item]))) continue;
      // What was tried has its answer already.
      this.refuseOrKeep(batch.slice(isThere ? at + 1 : at), error);
      return;
    }
  }

  /** The connection broke with the commit in flight: the chain tells whether it was done, however far it has grown since. */
  private async isOnDisk(wanted: AuditHead, batch: readonly QueuedChange[]): Promise<boolean> {
    if (batch.every((item) => item.change.audit.length === 0) || !(await this.isConnected())) return false;
    try {
      const written = await readHash(this.connected().client, wanted.sequence);
      return written !== undefined && bytesEqual(written, wanted.hash);
    } catch {
      this.disconnect();
      return false;
    }
  }

  private refuseOrKeep(items: readonly QueuedChange[], error: unknown): void {
    const isKept = (item: QueuedChange): boolean => item.isKept && !this.isClosed;
    this.queue.putBack(items.filter(isKept));
    for (const item of items) if (!isKept(item)) item.settle.reject(databaseUnavailable(error));
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
    if (this.isClosed) return false;
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

  private refuseAll(): void {
    for (const item of this.queue.drain()) item.settle.reject(databaseUnavailable());
  }

  /** Waits for nothing: a server that hangs would keep the goodbye as well. */
  private disconnect(): void {
    void this.client?.end().catch(() => undefined);
    this.client = undefined;
  }
}

/** Resolves with the first that does, and when the time is over; never rejects. */
async function firstOf(work: readonly Promise<void>[], ms: number): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  await Promise.race([Promise.any(work).catch(() => late.promise), late.promise]);
  clearTimeout(timer);
}

async function readHash(client: pg.Client, sequence: bigint): Promise<Uint8Array | undefined> {
  const { rows } = await client.query<{ hash: Buffer }>('SELECT hash FROM audit WHERE sequence = $1', [
    String(sequence),
  ]);
  const [row] = rows;
  return row === undefined ? undefined : new Uint8Array(row.hash);
}

async function readHead(client: pg.Client): Promise<AuditHead> {
  const { rows } = await client.query<{ sequence: string; hash: Buffer }>(
    'SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1',
  );
  const [last] = rows;
  return last === undefined ? EMPTY_HEAD : { sequence: BigInt(last.sequence), hash: new Uint8Array(last.hash) };
}
