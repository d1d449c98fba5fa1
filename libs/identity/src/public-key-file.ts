import { readFile } from 'node:fs/promises';
import { fromHex, LocalFault } from '@capstan/protocol';
import { checkPublicKey } from './key-check.js';

/** A raw Ed25519 public key from a file that holds its hex. @throws {LocalFault} `public-key-malformed` */
export async function readPublicKey(file: string): Promise<Uint8Array> {
  try {
    const key = fromHex((await readFile(file, 'utf8')).trim());
    checkPublicKey(key);
    return key;
  } catch (cause) {
    throw new LocalFault('public-key-malformed', 'The file does not hold a public key.', file, { cause });
  }
}
