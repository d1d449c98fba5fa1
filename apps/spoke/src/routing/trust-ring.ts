import { stat } from 'node:fs/promises';
import { type KeyRing, loadTrustIfAny } from '@capstan/identity';

/** Keys in a file that its owner may change while we run: read again when it has changed. No file means no keys. */
export class TrustRing {
  private known: { version: string; ring: KeyRing } | undefined;

  constructor(readonly file: string) {}

  /** @throws LocalFault `trust-file-…` where there is a file and it cannot be used */
  async current(): Promise<KeyRing> {
    const version = await stat(this.file, { bigint: true }).then(
      ({ ino, size, mtimeNs }) => [ino, size, mtimeNs].join('/'),
      (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'missing';
        throw error;
      },
    );
    if (this.known?.version !== version) {
      this.known = { version, ring: await loadTrustIfAny(this.file) };
    }
    return this.known.ring;
  }
}
