import { AuditLog, type AuditEntryInput, type AuditHead, type MerkleTree } from '@capstan/evidence';
import { createLogger } from '@capstan/platform';
import { LocalFault, WireFault } from '@capstan/protocol';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';

/** Entries of one kind in a minute, where a peer can cause as many as it likes. */
const MOST_OF_A_KIND = 60;
const WINDOW_MS = 60_000;
/** What a kill waits at most for its own audit entry. */
const KILL_WAITS_MS = 50;
/** Only whoever mends the log, and starts the spoke again, ends these. A full disk may end by itself. */
const LASTING: ReadonlySet<string> = new Set(['audit-damaged', 'audit-broken']);

/**
 * The instance's hash-chained record of what was ordered, decided and answered. It is read through before it is written
 * to, which takes seconds where it is long; kills do not wait for that. Nor for a log that is damaged: then nothing but
 * kills is done, until its owner has looked at it.
 */
@Injectable()
export class Audit implements OnApplicationShutdown {
  private readonly log = createLogger('spoke.audit');
  private readonly late = new Set<Promise<unknown>>();
  private readonly windows = new Map<string, { until: number; count: number }>();
  private readonly opened: Promise<AuditLog>;
  private file: AuditLog | undefined;
  private damage: LocalFault | undefined;

  /** @param opening the log, or the promise of it; may be rejected. */
  constructor(opening: AuditLog | Promise<AuditLog>) {
    this.opened = Promise.resolve(opening).catch((cause: unknown) => {
      if (cause instanceof LocalFault) throw cause;
      throw new LocalFault('audit-damaged', 'The audit log cannot be opened.', undefined, { cause });
    });
    this.opened.then(
      (file) => (this.file = file),
      (error: unknown) => this.notice(error),
    );
  }

  /** What keeps the log from being written, as far as that is known and will not mend itself. */
  get fault(): LocalFault | undefined {
    return this.damage;
  }

  /** The tree over the log; undefined until it was read through. */
  get tree(): MerkleTree | undefined {
    return this.file?.tree;
  }

  /** Resolves once the log was read through. @throws LocalFault `audit-damaged` */
  async ready(): Promise<void> {
    await this.opened;
    if (this.damage !== undefined) throw this.damage;
  }

  /** @throws WireFault `audit-unavailable` where nothing can be written down: whoever does not kill must not act */
  check(): void {
    if (this.damage !== undefined) throw new WireFault('audit-unavailable', this.damage.code, { cause: this.damage });
  }

  /** Resolves once the entry is on disk. @throws WireFault `audit-unavailable`; LocalFault `audit-entry` */
  async append(entry: AuditEntryInput): Promise<AuditHead> {
    try {
      return await (this.file ?? (await this.opened)).append(entry);
    } catch (error) {
      this.notice(error);
      if (!(error instanceof LocalFault) || error.code === 'audit-entry') throw error;
      throw new WireFault('audit-unavailable', error.code, { cause: error });
    }
  }

  /** Writes down what must not hold anything up; a failure is logged. */
  note(entry: AuditEntryInput): void {
    this.keep(
      this.append(entry).catch((error: unknown) => {
        // That nothing can be written was said once; what exactly is lost then says nothing more.
        if (this.damage === undefined) this.log.error({ err: error, msg: 'audit entry lost', entry });
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
    const written = this.append(entry).catch((error: unknown) => {
      this.log.error({ err: error, msg: 'audit entry lost', entry });
      return undefined;
    });
    const head = await Promise.race([written, timeout.promise]);
    clearTimeout(timer);
    if (head === undefined) this.keep(written.then((position) => this.noteLate(entry, position)));
    return head;
  }

  async onApplicationShutdown(): Promise<void> {
    const file = await this.opened.catch(() => undefined);
    while (this.late.size > 0) await Promise.all(this.late);
    await file?.close();
  }

  /** Says of an entry that it came after its kill; where it could not be written at all, neither can that. */
  private noteLate(entry: AuditEntryInput, position: AuditHead | undefined): void {
    if (position !== undefined) this.note({ ...entry, kind: `${entry.kind}.late`, detail: { late: true } });
  }

  private notice(error: unknown): void {
    if (!(error instanceof LocalFault) || !LASTING.has(error.code) || this.damage !== undefined) return;
    this.damage = error;
    this.log.error({ err: error, msg: 'the audit log cannot be written: nothing but kills is done from now on' });
  }

  private keep(writing: Promise<unknown>): void {
    const kept = writing.finally(() => this.late.delete(kept));
    this.late.add(kept);
  }
}
