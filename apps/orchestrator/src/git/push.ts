import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { BareRepository } from './bare-repository.js';
import { PushFault, pushFault } from './push-fault.js';
import { branchName, objectId } from './refs.js';
import { isAncestor } from './trial-merge.js';

const PUSH_TIMEOUT_MS = 5 * 60_000;

export interface PushOrder {
  repository: BareRepository;
  branch: string;
  commit: string;
  /** Commit that the branch is on at the source; undefined where it must not be there yet. */
  expected?: string | undefined;
  /** Aborted, it breaks the push off: what the source has taken by then stays there. */
  signal?: AbortSignal;
}

/**
 * Pushes one commit to one branch of the source: only where the branch is still where it was seen, and only forward. The
 * source's own hooks run: they are its owner's.
 *
 * @throws PushFault; LocalFault `git-credentials`
 */
export async function push({ repository, branch, commit, expected, signal }: PushOrder): Promise<void> {
  const { url, path } = repository.source;
  // Somebody works there; nothing of theirs is ever written to.
  if (path !== undefined && (await isCheckout(path, repository))) throw new PushFault('checkout', path);
  const ref = `refs/heads/${branchName(branch)}`;
  // A lease lets the branch go anywhere; that it goes forward is for us to see.
  if (expected !== undefined && !(await isAncestor(repository, expected, commit))) throw new PushFault('moved', ref);
  const lease = `--force-with-lease=${ref}:${expected === undefined ? '' : objectId(expected)}`;
  const flags = ['--quiet', '--no-verify', '--no-signed', '--recurse-submodules=no', lease];
  const env = await repository.remoteEnv();
  try {
    await repository.git(['push', ...flags, '--end-of-options', url, `${objectId(commit)}:${ref}`], {
      env,
      timeoutMs: PUSH_TIMEOUT_MS,
      talks: true,
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    throw pushFault(error);
  }
}

async function isCheckout(path: string, repository: BareRepository): Promise<boolean> {
  if (existsSync(join(path, '.git')) || basename(path) === '.git') return true;
  const asked = repository.gitText(['config', '--file', join(path, 'config'), '--type=bool', '--get', 'core.bare']);
  return (await asked.catch(() => 'true')) === 'false';
}
