import { readFile } from 'node:fs/promises';
import { replaceFile } from '@capstan/identity';
import { createLogger } from '@capstan/platform';
import { LocalFault } from '@capstan/protocol';

/**
 * The last session epoch that the hub has named, in a file: the link, and with it a kill, must not need Valkey. Nor a
 * disk with room: an epoch that cannot be written is kept in memory, since nonces alone already defeat old handshakes.
 */
export class SessionEpochFile {
  private readonly log = createLogger('spoke.session');
  private latest = 0n;

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
    const stored = BigInt(text.trim());
    return stored > this.latest ? stored : this.latest;
  }

  async save(epoch: bigint): Promise<void> {
    this.latest = epoch;
    try {
      await replaceFile(this.file, `${String(epoch)}\n`, 0o600);
    } catch (error) {
      this.log.error({ err: error, msg: 'the session epoch could not be written; the link is used all the same' });
    }
  }
}
