import { AuditLog, type AuditEntryInput, type AuditHead } from '@capstan/evidence';
import { createLogger } from '@capstan/platform';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';

/** What a kill waits at most for its own audit entry. */
const KILL_WAITS_MS = 50;

/** The instance's hash-chained record of what was ordered, decided and answered. */
@Injectable()
export class Audit implements OnApplicationShutdown {
  private readonly log = createLogger('spoke.audit');
  private readonly late = new Set<Promise<unknown>>();

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
