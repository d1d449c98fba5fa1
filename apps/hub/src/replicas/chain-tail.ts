import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { asc, desc, gt } from 'drizzle-orm';
import { createLogger } from '@capstan/platform';
import { DatabaseService } from '../database/database.service.js';
import { RecordWriter } from '../database/record-writer.js';
import { audit } from '../database/schema.js';
import { Freshness } from './freshness.js';
import { ReplicaBus } from './replica-bus.js';

/** Without a word from another replica it looks that often: four looks before anything counts as stale. */
const LOOK_MS = 250;
const PAGE = 500;

/** An entry of the audit chain that another replica has written. */
export interface ChainEntry {
  readonly kind: string;
  readonly subject: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

/**
 * Follows the audit chain, whose sequence is a cursor that misses nothing: whatever changes is entered there in the same
 * commit. A message on the bus says that there is something to read; one that is lost costs a quarter of a second.
 */
@Injectable()
export class ChainTail implements OnApplicationShutdown {
  private readonly log = createLogger('hub.replicas');
  private own: { first: bigint; last: bigint }[] = [];
  private running: Promise<void> | undefined;
  private ring: () => void = () => undefined;
  private isRung = false;
  private isStopped = false;

  private constructor(
    private readonly database: DatabaseService,
    private readonly writer: RecordWriter,
    private readonly bus: ReplicaBus,
    private readonly freshness: Freshness,
    private cursor: bigint,
  ) {}

  /** From where the chain ends now: before anything else of the hub has read its part of the database. */
  static async at(
    database: DatabaseService,
    writer: RecordWriter,
    bus: ReplicaBus,
    freshness: Freshness,
  ): Promise<ChainTail> {
    const [row] = await database.db
      .select({ sequence: audit.sequence })
      .from(audit)
      .orderBy(desc(audit.sequence))
      .limit(1);
    const tail = new ChainTail(database, writer, bus, freshness, row?.sequence ?? 0n);
    if (bus.isReplicated) tail.attach();
    return tail;
  }

  /** Resolves once everything up to now was taken up; goes on until the hub stops. */
  async follow(take: (entries: readonly ChainEntry[]) => Promise<void>): Promise<void> {
    await this.look(take);
    this.running = this.run(take);
  }

  async onApplicationShutdown(): Promise<void> {
    this.isStopped = true;
    this.ring();
    await this.running;
  }

  private attach(): void {
    this.writer.onCommitted = (first, last) => {
      this.own.push({ first, last });
      this.bus.publish({ kind: 'wrote' });
    };
    this.bus.on('wrote', () => {
      this.isRung = true;
      this.ring();
    });
  }

  private async run(take: (entries: readonly ChainEntry[]) => Promise<void>): Promise<void> {
    while (!this.isStopped) {
      await this.pause();
      try {
        if (!this.isStopped) await this.look(take);
      } catch (err) {
        if (this.freshness.isFresh) this.log.warn({ err, msg: 'the record of the other replicas was not read' });
      }
    }
  }

  private async look(take: (entries: readonly ChainEntry[]) => Promise<void>): Promise<void> {
    for (;;) {
      const startedAtMs = performance.now();
      this.isRung = false;
      const rows = await this.database.db
        .select({ sequence: audit.sequence, kind: audit.kind, subject: audit.subject, record: audit.record })
        .from(audit)
        .where(gt(audit.sequence, this.cursor))
        .orderBy(asc(audit.sequence))
        .limit(PAGE);
      const others = rows.filter(({ sequence }) => !this.isOwn(sequence));
      if (others.length > 0) await take(others.map(entryOf));
      this.cursor = rows.at(-1)?.sequence ?? this.cursor;
      this.own = this.own.filter(({ last }) => last > this.cursor);
      if (rows.length < PAGE) {
        this.freshness.confirm(startedAtMs);
        return;
      }
    }
  }

  private isOwn(sequence: bigint): boolean {
    return this.own.some(({ first, last }) => first <= sequence && sequence <= last);
  }

  private async pause(): Promise<void> {
    if (this.isRung) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LOOK_MS);
    this.ring = resolve;
    await promise;
    clearTimeout(timer);
  }
}

function entryOf({ kind, subject, record }: { kind: string; subject: string; record: string }): ChainEntry {
  const { detail } = JSON.parse(record) as { detail?: Record<string, unknown> };
  return { kind, subject, detail: detail ?? {} };
}
