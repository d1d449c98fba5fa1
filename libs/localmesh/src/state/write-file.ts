import { randomUUID } from 'node:crypto';
import { writeFileSync, renameSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';

/** Replaces a file in one step, readable by its owner only. */
export async function writePrivate(file: string, text: string): Promise<void> {
  const fresh = `${file}.${randomUUID()}`;
  await writeFile(fresh, text, { mode: 0o600 });
  await rename(fresh, file);
}

export function writePrivateSync(file: string, text: string): void {
  const fresh = `${file}.${randomUUID()}`;
  writeFileSync(fresh, text, { mode: 0o600 });
  renameSync(fresh, file);
}
