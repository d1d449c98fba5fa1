import {
  type BeforeApplicationShutdown,
  Injectable,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import { createLogger } from '@capstan/platform';
import type { FaultCode } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { probes } from '../database/schema.js';
import { HubConfig } from '../hub.config.js';

/** Without a schedule, what an admin asked for is good that long. */
const UNSCHEDULED_MS = 60_000;
/** How long what came of probes waits for company: a row each was a fourteenth of a hub's CPU with 2,000 idle links. */
const STORE_EVERY_MS = 250;
/** Rows of one statement. */
const MOST_ROWS = 500;

type ProbeRow = typeof probes.$inferInsert;

/** The last question to an instance's reaper, and what came of it. */
export interface ProbeRecord {
  readonly askedAt: Date;
  /** Null where the last probe has failed; then `code` says why. */
  readonly answeredAt: Date | null;
  readonly code: string | null;
  readonly provenAt: Date | null;
  readonly latencyMs: number | null;
}

/** Whether a kill would reach the instance, as far as anybody knows. */
export interface StoppableView {
  /** The last probe came through, and not too long ago. */
  proven: boolean;
  /** Milliseconds since the last proof; null where there was none. */
  ageMs: number | null;
  latencyMs: number | null;
}

/** What the probes of each instance have come to. */
@Injectable()
export class ProbeStore implements OnModuleInit, BeforeApplicationShutdown, OnApplicationShutdown {
  private readonly log = createLogger('hub.probes');
  private readonly records = new Map<string, ProbeRecord>();
  private unstored = new Map<string, ProbeRow>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly database: DatabaseService,
    private readonly config: HubConfig,
  ) {}

  onModuleInit(): Promise<void> {
    return this.reload();
  }

  /** Takes up what other replicas have stored; an older probe never replaces a newer one. */
  async reload(): Promise<void> {
    const { receipt: _, ...columns } = getTableColumns(probes);
    for (const { instance, ...record } of await this.database.db.select(columns).from(probes)) {
      const known = this.records.get(instance);
      if (known === undefined || known.askedAt < record.askedAt) this.records.set(instance, record);
    }
  }

  proven(instance: string, provenAt: Date, latencyMs: number, receipt: Uint8Array): void {
    const record = { askedAt: provenAt, answeredAt: provenAt, code: null, provenAt, latencyMs };
    this.keep(instance, record, { receipt });
  }

  failed(instance: string, askedAt: Date, code: FaultCode): void {
    const { provenAt = null, latencyMs = null } = this.records.get(instance) ?? {};
    this.keep(instance, { askedAt, answeredAt: null, code, provenAt, latencyMs }, {});
  }

  /** Whether the last probe came through, and within twice the interval. */
  isProven(instance: string, nowMs: number): boolean {
    const record = this.records.get(instance);
    if (record === undefined || record.answeredAt === null) return false;
    const { probeEveryMs } = this.config.killswitch;
    return nowMs - record.answeredAt.getTime() <= 2 * (probeEveryMs === 0 ? UNSCHEDULED_MS : probeEveryMs);
  }

  /** An instance without a link is not stoppable now, however fresh its proof. */
  stoppable(instance: string, isOnline: boolean, nowMs: number): StoppableView {
    const { provenAt = null, latencyMs = null } = this.records.get(instance) ?? {};
    const ageMs = provenAt === null ? null : Math.max(0, nowMs - provenAt.getTime());
    return { proven: isOnline && this.isProven(instance, nowMs), ageMs, latencyMs };
  }

  /** While the database is still there. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.storeAll();
  }

  onApplicationShutdown(): void {
    clearTimeout(this.timer);
  }

  /** Kept in memory; the disk is for the next start and for other replicas, so nothing waits for it. */
  private keep(instance: string, record: ProbeRecord, proof: { receipt?: Uint8Array }): void {
    this.records.set(instance, record);
    this.unstored.set(instance, { ...this.unstored.get(instance), instance, ...record, ...proof });
    this.timer ??= setTimeout(() => void this.storeAll(), STORE_EVERY_MS);
  }

  private async storeAll(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const rows = [...this.unstored.values()];
    this.unstored = new Map();
    for (let start = 0; start < rows.length; start += MOST_ROWS) await this.store(rows.slice(start, start + MOST_ROWS));
  }

  private async store(rows: ProbeRow[]): Promise<void> {
    const { askedAt, answeredAt, code, provenAt, latencyMs, receipt } = probes;
    const set = {
      ...{ askedAt: taken(askedAt), answeredAt: taken(answeredAt), code: taken(code) },
      ...{ provenAt: taken(provenAt), latencyMs: taken(latencyMs) },
      // A probe that failed brings none: the last proof stays.
      receipt: sql`coalesce(excluded.receipt, ${receipt})`,
    };
    try {
      await this.database.db.insert(probes).values(rows).onConflictDoUpdate({ target: probes.instance, set });
    } catch (err) {
      this.log.warn({ err, instances: rows.length, msg: 'probes were not stored' });
    }
  }
}

/** The value that an insert has brought for this column. */
function taken({ name }: { name: string }): SQL {
  return sql.raw(`excluded.${name}`);
}
