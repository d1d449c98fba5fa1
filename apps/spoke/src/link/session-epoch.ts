import { readFile } from 'node:fs/promises';
import { LocalFault } from '@capstan/protocol';
import { replaceFile } from '../instance/replace-file.js';

/** The last session epoch that the hub has named, in a file: the link, and with it a kill, must not need Valkey. */
export class SessionEpochFile {
  constructor(private readonly file: string) {}

  /** 0 before the first session. @throws LocalFault `session-epoch-malformed` */
  async load(): Promise<bigint> {
    const text = await readFile(this.file, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '0';
      throw error;
    });
    if (!/^\d{1,20}\n?$/.test(text)) {
      throw new LocalFault('session-epoch-malformed', 'The file with the session epoch cannot be read.', this.file);
    }
    return BigInt(text.trim());
  }

  async save(epoch: bigint): Promise<void> {
    await replaceFile(this.file, `${String(epoch)}\n`, 0o600);
  }
}
