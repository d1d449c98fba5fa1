import { readFile, stat } from 'node:fs/promises';
import { LocalFault } from '@capstan/protocol';
import { replaceFile } from './key-file.js';
import { keyRecordFromJson, keyRecordToJson, type KeyRecordJson } from './key-record.js';
import { KeyRing } from './key-ring.js';

/** The keys that somebody has decided to trust, on disk. */
export interface TrustFile {
  version: 1;
  keys: KeyRecordJson[];
}

/** @throws {LocalFault} `trust-file-missing`, `trust-file-open` (anybody can write it), `trust-file-malformed` */
export async function loadTrust(file: string): Promise<KeyRing> {
  return parseTrust(await readTrust(file), file);
}

/** The same where there may be no file: then nobody is trusted. @throws {LocalFault} as `loadTrust` */
export async function loadTrustIfAny(file: string): Promise<KeyRing> {
  try {
    return await loadTrust(file);
  } catch (error) {
    const cause = error instanceof LocalFault ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    if (cause?.code === 'ENOENT') return new KeyRing();
    throw error;
  }
}

async function readTrust(file: string): Promise<string> {
  try {
    if (((await stat(file)).mode & 0o002) !== 0) {
      throw new LocalFault(
        'trust-file-open',
        'The trust file can be written by anybody: chmod o-w it and check its keys.',
        file,
      );
    }
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof LocalFault) throw error;
    throw new LocalFault('trust-file-missing', 'The trust file cannot be read.', file, { cause: error });
  }
}

function parseTrust(text: string, file: string): KeyRing {
  try {
    const json = JSON.parse(text) as Partial<Record<keyof TrustFile, unknown>> | null;
    if (json?.version !== 1 || !Array.isArray(json.keys)) throw new TypeError('not {version: 1, keys: […]}');
    return new KeyRing(json.keys.map(keyRecordFromJson));
  } catch (error) {
    throw new LocalFault('trust-file-malformed', 'The trust file does not hold a list of keys.', file, {
      cause: error,
    });
  }
}

/** Writes the ring's keys; on disk when this resolves. Public keys only, so others may read it (0644). */
export async function saveTrust(file: string, ring: KeyRing): Promise<void> {
  const content: TrustFile = { version: 1, keys: ring.records().map(keyRecordToJson) };
  await replaceFile(file, `${JSON.stringify(content, null, 2)}\n`, 0o644);
}
