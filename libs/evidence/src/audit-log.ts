import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { nextLine, type AuditEntryInput, type AuditHead } from './log-line.js';
import { LogTree } from './log-tree.js';
import type { MerkleTree } from './merkle/merkle-tree.js';
import { recoverLog, type LogEnd } from './open-log.js';

export type { AuditEntryInput, AuditHead } from './log-line.js';

export interface AuditLogOptions {
  /** Milliseconds since the epoch; the system's clock unless told. */
  clock?: () => number;
}

interface Pending {
  readonly line: Buffer;
  readonly head: AuditHead;
  readonly resolve: (head: AuditHead) => void;
  readonly reject: (fault: LocalFault) => void;
}

/**
 * An append-only, hash-chained log in one file, with one writer.
 *
 * Entries that arrive while a write is under way go together into the next one: one write and one fdatasync for all
 * of them.
 */
export class AuditLog implements AsyncDisposable {
  /** The last record that is on disk. */
  #durable: AuditHead;
  /** The last record that was given a place in the chain. */
  #last: AuditHead;
  #size: number;
  #pending: Pending[] = [];
  #writing: Promise<void> | undefined;
  #end: LocalFault | undefined;

  private constructor(
    private readonly file: string,
    private readonly handle: FileHandle,
    private readonly clock: () => number,
    /** Bytes of a torn write that were cut off when the log was opened. */
    readonly tornBytes: number,
    private readonly records: LogTree,
    end: LogEnd,
  ) {
    this.#durable = end.head;
    this.#last = end.head;
    this.#size = end.size;
  }

  /**
   * Opens a log, or begins one, readable by its owner only; verifies it from its beginning.
   *
   * @throws {LocalFault} `audit-damaged` where more is wrong with it than a torn last write
   */
  static async open(file: string, o: AuditLogOptions = {}): Promise<AuditLog> {
    const handle = await open(file, 'a+', 0o600);
    try {
      const records = new LogTree(file);
      const end = await recoverLog(handle, file, records);
      await handle.sync();
      await using directory = await open(dirname(file), 'r');
      await directory.sync();
      return new AuditLog(file, handle, o.clock ?? Date.now, end.tornBytes, records, end);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The last record on disk. */
  head(): AuditHead {
    return this.#durable;
  }

  /** The tree over the records on disk. */
  get tree(): MerkleTree {
    return this.records.tree;
  }

  /**
   * Adds an entry, and resolves with its position once it is on disk. Entries keep the order of the calls.
   *
   * @throws {LocalFault} `audit-entry` (it cannot be written down), `audit-unwritable` (nothing was added; may be tried
   *   again), `audit-broken` (its state on disk is unknown: open the log anew), `audit-closed`
   */
  append(entry: AuditEntryInput): Promise<AuditHead> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) throw this.#end;
      const { line, head } = nextLine(this.#last, this.clock(), entry);
      this.#last = head;
      this.#pending.push({ line, head, resolve, reject });
      this.#writing ??= this.writeAll();
    });
  }

  private async writeAll(): Promise<void> {
    // Entries of the same turn of the event loop go together.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0);
      try {
        await this.commit(batch);
        for (const { head, resolve } of batch) resolve(head);
      } catch (error) {
        const fault = await this.rollBack(error);
        // Those that came meanwhile are chained to records that do not exist.
        for (const { reject } of [...batch, ...this.#pending.splice(0)]) reject(fault);
      }
    }
    this.#writing = undefined;
  }

  private async commit(batch: Pending[]): Promise<void> {
    const { size } = await this.handle.stat();
    if (size !== this.#size) {
      throw this.breakWith(`somebody else wrote to it: ${String(size)} bytes instead of ${String(this.#size)}`);
    }
    const bytes = Buffer.concat(batch.map(({ line }) => line));
    await this.handle.appendFile(bytes);
    try {
      await this.handle.datasync();
    } catch (error) {
      // After a failed fsync the kernel may have dropped the pages: asking again proves nothing.
      throw this.breakWith('fsync failed', error);
    }
    this.#size += bytes.length;
    this.#durable = batch.at(-1)?.head ?? this.#durable;
    for (const { head, line } of batch) this.records.append(head.hash, line.length);
  }

  /** After a write that failed, say on a full disk: the file as it was, so that a later entry can succeed. */
  private async rollBack(error: unknown): Promise<LocalFault> {
    if (this.#end !== undefined) return this.#end;
    try {
      await this.handle.truncate(this.#size);
    } catch (cause) {
      return this.breakWith('a write failed and could not be undone', cause);
    }
    this.#last = this.#durable;
    return new LocalFault('audit-unwritable', 'The audit log cannot be written.', this.file, { cause: error });
  }

  private breakWith(why: string, cause?: unknown): LocalFault {
    this.#end = new LocalFault(
      'audit-broken',
      'The audit log cannot be used until it is opened anew.',
      `${this.file}: ${why}`,
      { cause },
    );
    return this.#end;
  }

  /** Waits for what was appended, then closes. */
  async close(): Promise<void> {
    if (this.#end?.code === 'audit-closed') return;
    const broken = this.#end;
    this.#end = new LocalFault('audit-closed', 'The audit log is closed.', this.file, { cause: broken });
    await this.#writing;
    await this.handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
