import { open } from 'node:fs/promises';
import { LocalFault } from '@capstan/protocol';

/** Lines that are written at once. */
const BATCH = 500;

/** Writes lines to a new file that only its owner can read, as they come. @throws {LocalFault} `file-exists`, `file-unwritable` */
export async function writeLines(file: string, lines: Iterable<string> | AsyncIterable<string>): Promise<void> {
  await using handle = await open(file, 'wx', 0o600).catch((cause: unknown) => {
    throw (cause as NodeJS.ErrnoException).code === 'EEXIST'
      ? new LocalFault('file-exists', `${file} exists already; evidence is not written over.`, undefined, { cause })
      : new LocalFault('file-unwritable', `${file} cannot be written.`, undefined, { cause });
  });
  let batch: string[] = [];
  for await (const line of lines) {
    batch.push(line);
    if (batch.length < BATCH) continue;
    await handle.appendFile(batch.join(''));
    batch = [];
  }
  await handle.appendFile(batch.join(''));
}
