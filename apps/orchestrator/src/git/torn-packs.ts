import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Removes what fetches that were broken off have left of their packs: git leaves it there for weeks, and on a full disk it is
 * what fills it. To be called while nobody fetches into the repository; nothing else of ours makes such files there.
 */
export async function removeTornPacks(gitDir: string): Promise<void> {
  const directory = join(gitDir, 'objects', 'pack');
  // A repository that was never made has none.
  const names = await readdir(directory).catch(() => []);
  for (const name of names) if (name.startsWith('tmp_')) await rm(join(directory, name), { force: true });
}
