import { randomUUID } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Replaces a file; its content is on disk when this resolves, and a crash leaves the old one or the new one. */
export async function replaceFile(file: string, content: string, mode: number): Promise<void> {
  const temporary = join(dirname(file), `.${randomUUID()}.new`);
  try {
    await using handle = await open(temporary, 'wx', mode);
    await handle.writeFile(content);
    await handle.sync();
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  await rename(temporary, file);
  await using directory = await open(dirname(file), 'r');
  await directory.sync();
}
