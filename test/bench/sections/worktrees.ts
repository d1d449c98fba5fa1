/** (j) A worktree of a repository with 100,000 files, as an agent gets one, against git's own `worktree add`. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { agentId, taskId } from '@capstan/protocol';
import { sourceOfMany } from '../../support/many-files.ts';
import { type Figure, percentile } from '../figures.ts';

const FILES = 100_000;

/** The part of the git room that is used here; its code is the built one. */
interface GitRoom {
  RepositoryStore: new (options: { root: string }) => { open(tenant: string, repository: string): Promise<Repository> };
}
interface Repository {
  dir: string;
  resolveBranch(branch: string): Promise<{ commit: string }>;
  addWorktree(order: object): Promise<unknown>;
}

/**
 * Both in turn, in the same bare repository. None is removed before the end: a tree made right after one was removed took
 * fifteen times as long here, whoever made it; ext4, it seems, steps over inodes that were freed within the last minutes.
 */
export async function measureWorktrees(rounds: number): Promise<Figure[]> {
  const built = join(import.meta.dirname, '../../../dist/apps/orchestrator/src/git/index.js');
  const { RepositoryStore } = (await import(pathToFileURL(built).href)) as GitRoom;
  const root = mkdtempSync(join(tmpdir(), 'capstan-bench-'));
  try {
    const source = sourceOfMany(join(root, 'source.git'), FILES);
    const began = performance.now();
    const repository = await new RepositoryStore({ root: join(root, 'repositories') }).open('default', source);
    const cloned = performance.now() - began;
    const { commit } = await repository.resolveBranch('');
    const [ours, bare]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      ours.push(await timed(() => addOurs(repository, commit, root, round)));
      bare.push(await timed(() => addBare(repository.dir, commit, join(root, `bare-${String(round)}`))));
    }
    return [
      { section: 'j', name: 'first clone of 100,000 files', value: cloned, unit: 'ms', samples: 1 },
      {
        section: 'j',
        name: 'worktree of 100,000 files, given to its agent: p50',
        value: percentile(ours, 0.5),
        unit: 'ms',
        samples: rounds,
        baseline: { name: 'git worktree add', value: percentile(bare, 0.5) },
      },
    ];
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function addOurs(repository: Repository, commit: string, parent: string, round: number): Promise<void> {
  const ids = { agentId: agentId(`bench-${String(round)}`), taskId: taskId('bench') };
  const uid = process.getuid?.() === 0 ? 234_567 : (process.getuid?.() ?? 0);
  await repository.addWorktree({ ...ids, commit, uid, gid: uid, parent });
}

async function addBare(gitDir: string, commit: string, dir: string): Promise<void> {
  execFileSync('git', ['-C', gitDir, 'worktree', 'add', '--quiet', '--detach', dir, commit], { stdio: 'ignore' });
}

/** Milliseconds of the making. */
async function timed(make: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await make();
  return performance.now() - began;
}
