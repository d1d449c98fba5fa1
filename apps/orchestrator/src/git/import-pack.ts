import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { WireFault } from '@capstan/protocol';
import { objectsEnv, type BareRepository } from './bare-repository.js';
import { diskFault } from './disk-fault.js';
import type { Harvest, HarvestLimits } from './harvest-limits.js';
import { HeldHarvest, quarantinesOf } from './held-harvest.js';
import { objectId } from './refs.js';
import { GitFault } from './safe-git.js';
import { changesOf, checkSizes, quotePath, withoutNewLinks, type Change } from './tree-changes.js';

const LONGEST_HEAD = 65;
/** One allocation of index-pack at most: a delta of a kilobyte may say that it makes gigabytes. */
const MOST_MEMORY = '256m';

export interface PackOrder {
  repository: BareRepository;
  /** Commit that the tree is compared with. */
  base: string;
  /** A tree's id, a line end, and a pack; from a stranger. */
  stream: Readable;
  limits: HarvestLimits;
  /** What is done with links to commits of other repositories that the base has not. */
  links: 'refuse' | 'drop';
}

/**
 * Takes a pack into the repository, as a server takes a push: into a quarantine first, whole and checked by fsck, and
 * only then among the other objects.
 *
 * @returns undefined where the tree is the base's.
 * @throws {WireFault} `harvest-refused`
 */
export async function importPack(order: PackOrder): Promise<Harvest | undefined> {
  await using held = await holdPack(order);
  if (held === undefined) return undefined;
  await held.keep();
  return { tree: held.tree, files: held.files };
}

/**
 * As `importPack`, up to the quarantine: nothing of it is among the repository's objects before `keep`.
 *
 * @throws {WireFault} `harvest-refused`
 */
export async function holdPack(order: PackOrder): Promise<HeldHarvest | undefined> {
  const { repository, base, limits, links } = order;
  const quarantine = join(quarantinesOf(repository.dir), randomUUID());
  await mkdir(join(quarantine, 'pack'), { recursive: true, mode: 0o700 });
  const env = objectsEnv(quarantine, repository.dir);
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(quarantine, { recursive: true, force: true }));
  try {
    const claimed = await receive(order, env);
    const changes = await changesOf(repository, base, claimed, env, limits.files);
    const kept = await judge(repository, base, claimed, changes, links, env);
    if (kept.changes.length === 0) return undefined;
    await checkSizes(repository, kept.changes, env, limits.fileBytes);
    undo.move();
    const files = kept.changes.map(({ path }) => quotePath(path));
    return new HeldHarvest(repository, quarantine, kept.tree, files);
  } catch (error) {
    const full = diskFault(error);
    if (full !== undefined) throw full;
    if (error instanceof GitFault) throw new WireFault('harvest-refused', error.message, { cause: error });
    throw error;
  }
}

async function receive({ repository, stream, limits }: PackOrder, env: Record<string, string>): Promise<string> {
  const bytes: AsyncIterator<Buffer, undefined> = stream[Symbol.asyncIterator]();
  const { tree, rest } = await readTree(bytes);
  const strict = ['index-pack', '--strict', '--stdin', `--max-input-size=${String(limits.packBytes)}`];
  await repository.git(strict, {
    env: { ...env, GIT_ALLOC_LIMIT: MOST_MEMORY },
    stdin: Readable.from(following(rest, bytes)),
    timeoutMs: limits.timeoutMs,
  });
  // index-pack has checked that no object links to a missing one; this checks that the tree is one of them.
  const type = await repository.gitText(['cat-file', '-t', tree], { env });
  if (type !== 'tree') throw new WireFault('harvest-refused', `${tree} is no tree`);
  return tree;
}

async function readTree(bytes: AsyncIterator<Buffer, undefined>): Promise<{ tree: string; rest: Buffer }> {
  let head = Buffer.alloc(0);
  while (!head.includes('\n')) {
    const next = await bytes.next();
    if (next.done === true || head.length > LONGEST_HEAD) throw new WireFault('harvest-refused', 'no tree was named');
    head = Buffer.concat([head, next.value]);
  }
  const end = head.indexOf('\n');
  try {
    return { tree: objectId(head.toString('latin1', 0, end)), rest: head.subarray(end + 1) };
  } catch (error) {
    throw new WireFault('harvest-refused', 'no tree was named', { cause: error });
  }
}

async function* following(first: Buffer, rest: AsyncIterator<Buffer, undefined>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

async function judge(
  repository: BareRepository,
  base: string,
  tree: string,
  changes: Change[],
  links: PackOrder['links'],
  env: Record<string, string>,
): Promise<{ tree: string; changes: Change[] }> {
  const newLinks = changes.filter(({ isLink }) => isLink);
  if (newLinks.length === 0) return { tree, changes };
  if (links === 'refuse') {
    const names = newLinks.slice(0, 5).map(({ path }) => quotePath(path));
    throw new WireFault('harvest-refused', `a repository inside the repository: ${names.join(', ')}`);
  }
  return {
    tree: await withoutNewLinks(repository, tree, newLinks, env),
    changes: changes.filter(({ isLink }) => !isLink),
  };
}
