import { SealingKey } from '@capstan/identity';
import { LocalFault } from '@capstan/protocol';

/** The key to which secrets for this instance are sealed. */
export class SealingKeyFile {
  private constructor(readonly key: SealingKey | undefined) {}

  /** Without a key where the instance joined without one: it takes no secrets. @throws LocalFault `key-file-open`, `key-file-malformed` */
  static async load(file: string): Promise<SealingKeyFile> {
    try {
      return new SealingKeyFile(await SealingKey.load(file));
    } catch (error) {
      if (error instanceof LocalFault && error.code === 'key-file-missing') return new SealingKeyFile(undefined);
      throw error;
    }
  }
}
