import { execFile } from 'node:child_process';
import { lstat, readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { WireFault, type AgentId, type TaskId } from '@capstan/protocol';
import type { Mount } from '@capstan/sandbox';

const run = promisify(execFile);

/** Where the agent sees its files, and the repository's metadata. */
const WORKSPACE = '/workspace';
const REPOSITORY = '/opt/capstan/repository.git';

/** What must be remembered of a worktree so that it can be found again after a crash. */
export interface WorktreeRecord {
  agentId: AgentId;
  taskId: TaskId;
  /** The work tree; the agent writes it. */
  dir: string;
  /** git's metadata of it, inside the bare repository; the agent reads it. */
  adminDir: string;
  /** Commit that the agent started from. */
  commit: string;
}

/** The files of one agent: a linked worktree of a bare repository. */
export interface Worktree extends WorktreeRecord {
  /** The work tree writable at /workspace; `.git` and the repository read-only. */
  mounts(): Mount[];
}

/** Name of an agent's worktree, in its parent directory and in git's list. */
export function worktreeName(agentId: AgentId, taskId: TaskId): string {
  return `agent-${agentId}-${taskId}`;
}

/** Beside the work tree, where the agent cannot reach: `.git` as it reads inside. */
export function insideGitFile(dir: string): string {
  return `${dir}.gitfile`;
}

/** Text of the inside `.git`: the repository has another place there. */
export function insideGitText(adminDir: string): string {
  return `gitdir: ${REPOSITORY}/worktrees/${basename(adminDir)}\n`;
}

/** @param repositoryDir the bare repository on the host. */
export function worktreeOf(record: WorktreeRecord, repositoryDir: string): Worktree {
  const { dir } = record;
  return {
    ...record,
    mounts: () => [
      { source: dir, target: WORKSPACE, mode: 'rw' },
      { source: insideGitFile(dir), target: `${WORKSPACE}/.git`, mode: 'ro' },
      { source: repositoryDir, target: REPOSITORY, mode: 'ro' },
    ],
  };
}

/** git's own name for a new worktree's metadata; it adds a number where the plain one is taken. */
export async function adminDirOf(dir: string, repositoryDir: string): Promise<string> {
  const text = await readFile(join(dir, '.git'), 'utf8');
  const adminDir = /^gitdir: (.+)\n$/.exec(text)?.[1] ?? '';
  if (dirname(adminDir) !== join(repositoryDir, 'worktrees')) throw new Error(`unexpected metadata at ${adminDir}`);
  return adminDir;
}

/**
 * Makes sure that the path is still the directory that was made for the agent: a symlink in its place would make the
 * host hand over what it points to.
 *
 * @throws {WireFault} `harvest-refused`
 */
export async function checkWorktree({ dir }: WorktreeRecord): Promise<void> {
  const isDirectory = await lstat(dir).then(
    (it) => it.isDirectory(),
    () => false,
  );
  if (!isDirectory || (await realpath(dir)) !== dir)
    throw new WireFault('harvest-refused', 'the work tree is no directory');
}

/** Gives a fresh work tree to the agent; nothing of the agent's has run in it, so that its links are the repository's. */
export async function giveTo(dir: string, uid: number, gid: number): Promise<void> {
  if (process.getuid?.() !== 0) return;
  await run('chown', ['-hR', '--', `${String(uid)}:${String(gid)}`, dir], PLAIN);
}

/**
 * Removes what an agent wrote: by rm, which follows no link and copes with paths deeper than any system call takes.
 * Directories that the agent made unreadable are opened first, where we are not root.
 */
export async function removeTree(dir: string): Promise<void> {
  if (process.getuid?.() !== 0) await run('chmod', ['-R', 'u+rwX', '--', dir], PLAIN).catch(() => undefined);
  await run('rm', ['-rf', '--one-file-system', '--', dir], PLAIN);
}

const PLAIN = { cwd: '/', env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' }, maxBuffer: 64 * 1024 };
