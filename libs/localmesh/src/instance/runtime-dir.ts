import { copyFile, link, rename, rm, stat } from 'node:fs/promises';
import { constants, existsSync, realpathSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { builtFile, pinnedNode } from '../state/checkout.js';
import { makeTraversable } from '../state/state-dir.js';

/**
 * The two files that every agent runs from, where a sandbox with a uid of its own can reach them: the checkout may lie
 * in a home that is closed to others.
 *
 * @param cache a directory shared by all meshes of this user; Node is 120 MB, so each mesh links to one copy.
 */
export async function provideRuntime(directory: string, cache: string): Promise<string> {
  makeTraversable(directory);
  await Promise.all([
    provideNode(directory, cache),
    replace(builtFile('apps/agent/agent.mjs'), join(directory, 'agent.mjs')),
  ]);
  return directory;
}

async function provideNode(directory: string, cache: string): Promise<void> {
  const source = realpathSync(pinnedNode());
  const target = join(directory, 'node');
  if (await isSame(source, target)) return;
  makeTraversable(cache);
  const { size, mtimeMs } = await stat(source);
  const shared = join(cache, `node-${process.version}-${String(size)}-${String(Math.trunc(mtimeMs))}`);
  if (!existsSync(shared)) await replace(source, shared);
  await rm(target, { force: true });
  try {
    await link(shared, target);
  } catch {
    // Another file system.
    await replace(shared, target);
  }
}

async function isSame(source: string, target: string): Promise<boolean> {
  try {
    const [from, to] = await Promise.all([stat(source), stat(target)]);
    return from.size === to.size && to.mtimeMs >= from.mtimeMs;
  } catch {
    return false;
  }
}

/** A running agent keeps the old file; a starting one sees the old or the new, never half. */
async function replace(source: string, target: string): Promise<void> {
  const fresh = `${target}.${randomUUID()}`;
  await copyFile(source, fresh, constants.COPYFILE_FICLONE);
  await rename(fresh, target);
}
