import { type FileHandle, open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LocalFault } from '@capstan/platform';
import { journalLine } from './journal-lines.js';

interface Pending {
  readonly line: Buffer;
  readonly settle: PromiseWithResolvers<void>;
}

/**
 * One file to which entries are appended. Those that come together share a write and an fdatasync. After a failure nothing
 * more is written to it: what the disk holds of its end is unknown then.
 *
 * By hand, because what would do it, node:sqlite, blocks the event loop for each fsync and has no checksums on its pages.
 */
export class JournalFile {
  private waiting: Pending[] = [];
  private writing: Promise<void> | undefined;
  private bytes = 0;
  private failure: LocalFault | undefined;
  private isToBeEmptied = false;

  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
  ) {}

  /** Makes the file, for its owner only. @throws what the disk says */
  static async make(path: string): Promise<JournalFile> {
    const handle = await open(path, 'a', 0o600);
    try {
      await using directory = await open(dirname(path), 'r');
      await directory.sync();
      return new JournalFile(path, handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Bytes that were written since it was last emptied. */
  get size(): number {
    return this.bytes;
  }

  get hasFailed(): boolean {
    return this.failure !== undefined;
  }

  /** Resolves once the entry is on disk. @throws LocalFault `kill-journal` */
  append(entry: unknown): Promise<void> {
    const settle = Promise.withResolvers<void>();
    const line = journalLine(entry);
    this.bytes += line.length;
    this.waiting.push({ line, settle });
    this.writing ??= this.writeAll();
    return settle.promise;
  }

  /** Forgets everything that was appended and has settled; what still waits is written afterwards. */
  empty(): void {
    this.isToBeEmptied = true;
    this.writing ??= this.writeAll();
  }

  async close(): Promise<void> {
    await this.writing;
    await this.handle.close();
  }

  /** After `close`. */
  async remove(): Promise<void> {
    await unlink(this.path);
  }

  private async writeAll(): Promise<void> {
    // Those of the same turn of the event loop go together.
    await Promise.resolve();
    while (this.waiting.length > 0 || this.isToBeEmptied) {
      const batch = this.waiting;
      this.waiting = [];
      try {
        if (this.failure !== undefined) throw this.failure;
        if (this.isToBeEmptied) await this.truncate(batch);
        if (batch.length === 0) continue;
        await this.handle.appendFile(Buffer.concat(batch.map(({ line }) => line)));
        await this.handle.datasync();
        for (const { settle } of batch) settle.resolve();
      } catch (cause) {
        this.failure ??= new LocalFault('kill-journal', 'The journal of kills cannot be written.', this.path, {
          cause,
        });
        this.isToBeEmptied = false;
        for (const { settle } of batch) settle.reject(this.failure);
      }
    }
    this.writing = undefined;
  }

  private async truncate(next: readonly Pending[]): Promise<void> {
    this.isToBeEmptied = false;
    await this.handle.truncate(0);
    this.bytes = [...next, ...this.waiting].reduce((sum, { line }) => sum + line.length, 0);
  }
}
