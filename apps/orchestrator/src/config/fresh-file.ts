import { stat } from 'node:fs/promises';

/** The content of a file that its owner may change while we run: read again whenever the file is another. */
export class FreshFile<T> {
  private known: { version: string; value: Promise<T> } | undefined;

  constructor(
    readonly file: string,
    private readonly load: (file: string) => Promise<T>,
  ) {}

  /** Rejects as `load` does; a failure is not remembered. */
  async read(): Promise<T> {
    // Where the file is missing, load says so in its own words.
    const stats = await stat(this.file, { bigint: true }).catch(() => undefined);
    const version = stats === undefined ? '' : [stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(' ');
    if (this.known?.version !== version) this.known = { version, value: this.load(this.file) };
    const { value } = this.known;
    try {
      return await value;
    } catch (error) {
      this.known = undefined;
      throw error;
    }
  }
}
