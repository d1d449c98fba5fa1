import { access, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** No ref and no work tree of ours has a name that ends as a lock's; among objects nothing is locked. */
const LOCKED = [
  { place: '.', recursive: false },
  { place: 'refs', recursive: true },
  { place: 'worktrees', recursive: true },
];
const HELD = /\.quarantine$|\.salvage\.[0-9a-f-]{36}$/;

/**
 * Removes git's memory of work trees that are gone, in every bare repository of a store. Only where nobody works in them: at
 * the start of the process. (`git worktree prune` would wait for three months.)
 *
 * @param root the store's directory. @returns what was removed.
 */
export async function pruneWorktrees(root: string): Promise<string[]> {
  const pruned: string[] = [];
  for (const repository of await names(root)) {
    if (!repository.endsWith('.git')) continue;
    const worktrees = join(root, repository, 'worktrees');
    for (const name of await names(worktrees)) {
      const adminDir = join(worktrees, name);
      if (await isThere(await gitFileOf(adminDir))) continue;
      await rm(adminDir, { recursive: true, force: true });
      pruned.push(adminDir);
    }
  }
  return pruned;
}

/**
 * Removes what harvests held, and half-made repositories for salvage, when the process died. Only before any harvest of this
 * one.
 *
 * @param root the store's directory.
 */
export async function removeHeld(root: string): Promise<void> {
  for (const name of await names(root))
    if (HELD.test(name)) await rm(join(root, name), { recursive: true, force: true, maxRetries: 3 });
}

/**
 * Removes the locks of a git that was killed, or lost its power, in every bare repository of a store: each would keep its ref
 * from being moved for ever. Only before any git of this process, and git does not outlive ours.
 *
 * @param root the store's directory. @returns what was removed.
 */
export async function removeLocks(root: string): Promise<string[]> {
  const removed: string[] = [];
  for (const repository of await names(root)) {
    if (!/\.(?:git|salvage)$/.test(repository)) continue;
    for (const { place, recursive } of LOCKED) {
      const directory = join(root, repository, place);
      const found = await readdir(directory, { recursive }).catch(() => []);
      for (const lock of found.filter((name) => name.endsWith('.lock')).map((name) => join(directory, name))) {
        await rm(lock, { force: true });
        removed.push(lock);
      }
    }
  }
  return removed;
}

/** The `.git` of the work tree that this metadata is of; empty where it names none. */
async function gitFileOf(adminDir: string): Promise<string> {
  return (await readFile(join(adminDir, 'gitdir'), 'utf8').catch(() => '')).trim();
}

async function names(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}

async function isThere(path: string): Promise<boolean> {
  if (path === '') return false;
  return access(path).then(
    () => true,
    () => false,
  );
}
