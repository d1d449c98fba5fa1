import { AuditLog, type AuditEntryInput, type AuditHead } from '@capstan/evidence';
import { createLogger } from '@capstan/platform';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';

/** Entries of one kind in a minute, where a peer can cause as many as it likes. */
const MOST_OF_A_KIND = 60;
const WINDOW_MS = 60_000;
/** What a kill waits at most for its own audit entry. */
const KILL_WAITS_MS = 50;

/** The instance's hash-chained record of what was ordered, decided and answered. */
@Injectable()
export class Audit implements OnApplicationShutdown {
  private readonly log = createLogger('spoke.audit');
  private readonly late = new Set<Promise<unknown>>();
  private readonly windows = new Map<string, { until: number; count: number }>();

  constructor(private readonly file: AuditLog) {}

  /** Resolves once the entry is on disk. @throws LocalFault `audit-…` */
  append(entry: AuditEntryInput): Promise<AuditHead> {
    return this.file.append(entry);
  }

  /** Writes down what must not hold anything up; a failure is logged. */
  note(entry: AuditEntryInput): void {
    this.keep(
      this.file.append(entry).catch((error: unknown) => {
        this.log.error({ err: error, msg: 'audit entry lost', entry });
      }),
    );
  }

  /**
   * Writes down what a peer can repeat for nothing, without letting it fill the disk: the first of a kind in each
   * minute. Metrics count them all.
   */
  noteSome(entry: AuditEntryInput): void {
    const nowMs = performance.now();
    const known = this.windows.get(entry.kind);
    const window = known === undefined || known.until <= nowMs ? { until: nowMs + WINDOW_MS, count: 0 } : known;
    window.count += 1;
    this.windows.set(entry.kind, window);
    if (window.count <= MOST_OF_A_KIND) this.note(entry);
  }

  /**
   * The entry before a kill: waits 50 ms at most and never fails. Undefined where it took longer; it is then written
   * all the same, followed by one that says so.
   */
  async beforeKill(entry: AuditEntryInput): Promise<AuditHead | undefined> {
    const timeout = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => timeout.resolve(undefined), KILL_WAITS_MS);
    const written = this.file.append(entry).catch((error: unknown) => {
      this.log.error({ err: error, msg: 'audit entry lost', entry });
      return undefined;
    });
    const head = await Promise.race([written, timeout.promise]);
    clearTimeout(timer);
    if (head === undefined) {
      this.keep(written.then(() => this.note({ ...entry, kind: `${entry.kind}.late`, detail: { late: true } })));
    }
    return head;
  }

  async onApplicationShutdown(): Promise<void> {
    while (this.late.size > 0) await Promise.all(this.late);
    await this.file.close();
  }

  private keep(writing: Promise<unknown>): void {
    const kept = writing.finally(() => this.late.delete(kept));
    this.late.add(kept);
  }
}
