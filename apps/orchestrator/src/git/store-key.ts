import { randomBytes, randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';

const KEY_BYTES = 32;

/** The key that a file holds, made where there is none: whole or not at all, as a full disk or a crash may come between. */
export async function loadOrMakeKey(file: string): Promise<Buffer> {
  const held = await keyIn(file);
  if (held?.length === KEY_BYTES) return held;
  if (held !== undefined) await rm(file, { force: true });
  const fresh = `${file}.${randomUUID()}`;
  try {
    await writeFile(fresh, randomBytes(KEY_BYTES), { mode: 0o600, flush: true });
    // Another may have made it meanwhile: then that one counts.
    await link(fresh, file).catch(unless('EEXIST'));
  } finally {
    await rm(fresh, { force: true });
  }
  return readFile(file);
}

async function keyIn(file: string): Promise<Buffer | undefined> {
  return readFile(file).catch(unless('ENOENT'));
}

function unless(code: string): (error: unknown) => undefined {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code !== code) throw error;
    return undefined;
  };
}
