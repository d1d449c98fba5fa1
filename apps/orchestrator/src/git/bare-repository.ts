import { chmod, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WireFault, type AgentId, type TaskId } from '@capstan/protocol';
import { diskFaultAt } from './disk-fault.js';
import type { KeyedMutex } from './keyed-mutex.js';
import { branchName, objectId } from './refs.js';
import type { RepositorySource } from './repository-source.js';
import { gitText, runGit, type GitOptions } from './safe-git.js';
import { sizeFault } from './size-fault.js';
import {
  adminDirOf,
  giveTo,
  insideGitFile,
  insideGitText,
  removeTree,
  worktreeName,
  worktreeOf,
  type Worktree,
  type WorktreeRecord,
} from './worktree.js';

const CHECKOUT_TIMEOUT_MS = 10 * 60_000;

export interface BranchHead {
  branch: string;
  commit: string;
  /** Full ref, in this repository, that holds it. */
  ref: string;
}

export interface WorktreeOrder {
  agentId: AgentId;
  taskId: TaskId;
  commit: string;
  /** Owner of the files. */
  uid: number;
  gid: number;
  /** Directory in which the work tree is made; the agent must not be able to write it. */
  parent: string;
}

export interface BareRepositoryParts {
  dir: string;
  source: RepositorySource;
  configFile: string;
  /** Branch that the source's HEAD is on. */
  defaultBranch: string | undefined;
  /** What git needs in its environment to reach the source. */
  remoteEnv: () => Promise<Record<string, string>>;
  /** Ref that holds the commit of the source's HEAD. */
  headRef: string;
  turns: KeyedMutex;
  /** Directory to which objects are written, and in which they are looked for first; the repository's own unless told. */
  objects?: string;
}

/** A bare repository of ours; `dir` is its git directory. */
export class BareRepository {
  readonly dir: string;
  readonly source: RepositorySource;

  constructor(private readonly parts: BareRepositoryParts) {
    this.dir = parts.dir;
    this.source = parts.source;
  }

  /** What git needs in its environment to reach the source; it holds secrets. @throws LocalFault `git-credentials` */
  remoteEnv(): Promise<Record<string, string>> {
    return this.parts.remoteEnv();
  }

  /** Runs git on the repository itself; never on a work tree. @throws GitFault */
  git(args: readonly string[], options: Omit<GitOptions, 'gitDir' | 'configFile'> = {}): Promise<Buffer> {
    return runGit(args, this.optionsOf(options));
  }

  /** @throws GitFault */
  gitText(args: readonly string[], options: Omit<GitOptions, 'gitDir' | 'configFile'> = {}): Promise<string> {
    return gitText(args, this.optionsOf(options));
  }

  /** The same repository, with objects that are not among its own (yet); what git makes there stays there. */
  withObjects(directory: string): BareRepository {
    return new BareRepository({ ...this.parts, objects: directory });
  }

  /** Another bare repository of ours that stands for the same source. */
  at(dir: string): BareRepository {
    return new BareRepository({ ...this.parts, dir });
  }

  private optionsOf(options: Omit<GitOptions, 'gitDir' | 'configFile'>): GitOptions {
    const { objects, configFile } = this.parts;
    const place = objects === undefined ? {} : objectsEnv(objects, this.dir);
    return { ...options, env: { ...place, ...options.env }, gitDir: this.dir, configFile };
  }

  /** @returns the commit of a full ref; undefined where there is none. */
  async commitOf(ref: string): Promise<string | undefined> {
    try {
      return objectId(await this.gitText(['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`]));
    } catch {
      return undefined;
    }
  }

  /**
   * @param branch empty for the source's default branch.
   * @throws {WireFault} `branch-missing`
   */
  async resolveBranch(branch: string): Promise<BranchHead> {
    const name = branch === '' ? this.parts.defaultBranch : branchName(branch);
    // A source whose HEAD is on no branch (a checkout of a CI job, say) still has a commit to start from.
    const ref = name === undefined ? this.parts.headRef : `refs/remotes/origin/${name}`;
    const commit = await this.commitOf(ref);
    if (commit === undefined) throw new WireFault('branch-missing', name ?? 'HEAD');
    return { branch: name ?? 'HEAD', commit, ref };
  }

  /** Checks `commit` out for one agent. @throws GitFault */
  async addWorktree(order: WorktreeOrder): Promise<Worktree> {
    const { agentId, taskId, uid, gid } = order;
    const commit = objectId(order.commit);
    const dir = join(order.parent, worktreeName(agentId, taskId));
    const add = ['worktree', 'add', '--quiet', '--no-checkout', '--detach', '--force', '--end-of-options', dir, commit];
    try {
      await this.turns(() => this.git(add));
      const adminDir = await adminDirOf(dir, this.dir);
      await this.git(['reset', '--quiet', '--hard', '--no-recurse-submodules'], {
        cwd: dir,
        env: { GIT_DIR: adminDir, GIT_WORK_TREE: dir },
        timeoutMs: CHECKOUT_TIMEOUT_MS,
      });
      await giveTo(dir, uid, gid);
      await chmod(dir, 0o750);
      await writeFile(insideGitFile(dir), insideGitText(adminDir), { mode: 0o644 });
      await chmod(insideGitFile(dir), 0o644);
      await openForReading(adminDir);
      return worktreeOf({ agentId, taskId, dir, adminDir, commit }, this.dir);
    } catch (error) {
      const fault = (await diskFaultAt(error, order.parent, this.dir)) ?? sizeFault(error) ?? error;
      await this.undoWorktree(dir);
      throw fault;
    }
  }

  /** Nothing of a work tree that was not made to the end may take the place or the name of a later one. */
  private async undoWorktree(dir: string): Promise<void> {
    const adminDir = await adminDirOf(dir, this.dir).catch(() => undefined);
    if (adminDir !== undefined) return this.removeWorktree({ dir, adminDir });
    await removeTree(dir);
    await rm(insideGitFile(dir), { force: true });
  }

  /** A worktree that was made before a crash. */
  recallWorktree(record: WorktreeRecord): Worktree {
    return worktreeOf(record, this.dir);
  }

  /** Removes the files and git's memory of them; may be repeated. */
  async removeWorktree({ dir, adminDir }: Pick<WorktreeRecord, 'dir' | 'adminDir'>): Promise<void> {
    await removeTree(dir);
    await rm(insideGitFile(dir), { force: true });
    if (dirname(adminDir) !== join(this.dir, 'worktrees')) throw new Error(`${adminDir} is no worktree of ${this.dir}`);
    await this.turns(() => rm(adminDir, { recursive: true, force: true }));
  }

  private turns<T>(task: () => Promise<T>): Promise<T> {
    return this.parts.turns.run(metadataTurn(this.dir), task);
  }
}

/** What makes git write objects to a directory, and read the repository's too. */
export function objectsEnv(directory: string, repositoryDir: string): Record<string, string> {
  return { GIT_OBJECT_DIRECTORY: directory, GIT_ALTERNATE_OBJECT_DIRECTORIES: join(repositoryDir, 'objects') };
}

/**
 * The turn of what reads or writes git's list of worktrees, which has no lock: two that add one, and a fetch, which
 * looks at the HEAD of each and fails with "bad object worktrees/…/HEAD" on one that is being made (seen under load).
 */
export function metadataTurn(repositoryDir: string): string {
  return `worktrees of ${repositoryDir}`;
}

/** git makes some files with the umask of the moment; the agent's uid must read them. */
async function openForReading(adminDir: string): Promise<void> {
  await chmod(dirname(adminDir), 0o755);
  await chmod(adminDir, 0o755);
  await Promise.all(['HEAD', 'commondir', 'gitdir', 'index'].map((name) => chmod(join(adminDir, name), 0o644)));
}
