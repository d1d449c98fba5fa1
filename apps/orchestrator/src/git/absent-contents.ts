import type { WarningView } from '@capstan/protocol';
import type { BareRepository } from './bare-repository.js';
import { quotePath } from './tree-changes.js';
import type { Worktree } from './worktree.js';

const MOST_LIST_BYTES = 64 * 1024 * 1024;
/** Bytes of one attributes file that is looked into. */
const MOST_ATTRIBUTES_BYTES = 1024 * 1024;
const MOST_NAMED = 5;
const LONGEST_NAME = 120;
const LFS = /^\s*([^\s#]\S*)\s(?:.*\s)?filter=lfs(?:\s|$)/;

/**
 * What a fresh work tree lacks although its commit names it: the files of submodules, and those that Git LFS keeps
 * elsewhere. Must come before anything of the agent's runs.
 *
 * @returns one warning for each kind, in words for people. @throws GitFault
 */
export async function absentContents(repository: BareRepository, worktree: Worktree): Promise<WarningView[]> {
  const [submodules, patterns] = [
    await submodulesOf(repository, worktree.commit),
    await lfsPatterns(repository, worktree),
  ];
  const warnings: WarningView[] = [];
  if (submodules.length > 0) {
    const sentence = `Submodules are not fetched, their directories are empty here: ${listed(submodules)}.`;
    warnings.push({ code: 'repository-submodules', sentence });
  }
  if (patterns.length > 0) {
    const sentence = `Files of Git LFS are not fetched: here they are their pointers, and what is written in their place is committed as it is: ${listed(patterns)}.`;
    warnings.push({ code: 'repository-lfs', sentence });
  }
  return warnings;
}

/** `-d` leaves the files out: what remains are directories, and commits of other repositories. */
async function submodulesOf(repository: BareRepository, commit: string): Promise<string[]> {
  const listing = ['ls-tree', '-r', '-d', '-z', '--end-of-options', commit];
  return recordsOf(await repository.git(listing, { maxOutputBytes: MOST_LIST_BYTES }))
    .filter(({ head }) => head.startsWith('160000 '))
    .map(({ path }) => quotePath(path));
}

/** Patterns of attributes files, each with the directory that it counts in. */
async function lfsPatterns(repository: BareRepository, { dir, adminDir }: Worktree): Promise<string[]> {
  // From the index: it is quicker than reading every tree, and no file of the work tree is opened.
  const files = recordsOf(
    await repository.git(['ls-files', '--stage', '-z', '--', ':(glob)**/.gitattributes'], {
      env: { GIT_DIR: adminDir, GIT_WORK_TREE: dir },
      maxOutputBytes: MOST_LIST_BYTES,
    }),
  ).filter(({ head }) => head.startsWith('100'));
  const patterns: string[] = [];
  for (const { path, content } of await contentsOf(repository, files)) {
    const place = path.subarray(0, path.lastIndexOf('/') + 1);
    for (const line of content.toString('latin1').split('\n')) {
      const pattern = LFS.exec(line)?.[1];
      if (pattern !== undefined) patterns.push(quotePath(Buffer.concat([place, Buffer.from(pattern, 'latin1')])));
    }
  }
  return patterns;
}

interface Entry {
  /** What stands before the tab. */
  head: string;
  path: Buffer;
}

function recordsOf(output: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < output.length;) {
    const [tab, end] = [output.indexOf(9, at), output.indexOf(0, at)];
    entries.push({ head: output.toString('latin1', at, tab), path: output.subarray(tab + 1, end) });
    at = end + 1;
  }
  return entries;
}

/** Of those that are not too large. */
async function contentsOf(repository: BareRepository, files: Entry[]): Promise<{ path: Buffer; content: Buffer }[]> {
  const ids = (of: readonly Entry[]): string => of.map(({ head }) => `${head.split(' ')[1] ?? ''}\n`).join('');
  const check = ['cat-file', '--batch-check=%(objectsize)'];
  const sizes = (await repository.gitText(check, { stdin: ids(files) })).split('\n').map(Number);
  const small = files.filter((_, index) => (sizes[index] ?? Infinity) <= MOST_ATTRIBUTES_BYTES);
  const batch = ['cat-file', '--batch=%(objectsize)'];
  const output = await repository.git(batch, { stdin: ids(small), maxOutputBytes: MOST_LIST_BYTES });
  let at = 0;
  return small.map(({ path }) => {
    const begin = output.indexOf(10, at) + 1;
    const end = begin + Number(output.toString('latin1', at, begin));
    at = end + 1;
    return { path, content: output.subarray(begin, end) };
  });
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMED).map((name) => name.slice(0, LONGEST_NAME));
  const more = names.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${String(more)} more` : shown.join(', ');
}
