import { readFile } from 'node:fs/promises';
import { fromHex, LocalFault } from '@capstan/protocol';
import { checkPublicKey } from './key-check.js';

/** A raw Ed25519 public key from a file that holds its hex. @throws {LocalFault} `file-missing`, `public-key-malformed` */
export async function readPublicKey(file: string): Promise<Uint8Array> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new LocalFault('file-missing', `${file} cannot be read.`, undefined, { cause });
  });
  try {
    const key = fromHex(text.trim());
    checkPublicKey(key);
    return key;
  } catch (cause) {
    throw new LocalFault('public-key-malformed', 'The file does not hold a public key.', file, { cause });
  }
}
