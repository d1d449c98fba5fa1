import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { WireFault } from '@capstan/protocol';
import type { BareRepository } from './bare-repository.js';
import { branchName, objectId } from './refs.js';
import { GitFault } from './safe-git.js';

const PUSH_TIMEOUT_MS = 5 * 60_000;

/**
 * Pushes one commit to one branch of the source, never by force. The source's own hooks run: they are its owner's.
 *
 * @throws {WireFault} `push-rejected`
 */
export async function push({
  repository,
  branch,
  commit,
}: {
  repository: BareRepository;
  branch: string;
  commit: string;
}): Promise<void> {
  const { url, path } = repository.source;
  // Somebody works there; nothing of theirs is ever written to.
  if (path !== undefined && (await isCheckout(path, repository))) {
    throw new WireFault('push-rejected', `${path} is a checkout; agents push to bare repositories only`);
  }
  const refspec = `${objectId(commit)}:refs/heads/${branchName(branch)}`;
  try {
    await repository.git(
      ['push', '--quiet', '--no-verify', '--no-signed', '--recurse-submodules=no', '--end-of-options', url, refspec],
      {
        timeoutMs: PUSH_TIMEOUT_MS,
      },
    );
  } catch (error) {
    throw new WireFault('push-rejected', error instanceof GitFault ? error.message : String(error), { cause: error });
  }
}

async function isCheckout(path: string, repository: BareRepository): Promise<boolean> {
  if (existsSync(join(path, '.git')) || basename(path) === '.git') return true;
  const asked = repository.gitText(['config', '--file', join(path, 'config'), '--type=bool', '--get', 'core.bare']);
  return (await asked.catch(() => 'true')) === 'false';
}
