import { agentId, WireFault } from '@capstan/protocol';
import { makeCommit } from './commit.js';
import { harvestAny, type HarvestOrder } from './harvest.js';
import type { Harvest } from './harvest-limits.js';

const AUTHOR = { name: 'Capstan salvage', email: 'agent@capstan.invalid' };

/**
 * Saves an agent's unfinished work to `refs/capstan/salvage/<agent>` before its worktree is removed. What cannot be
 * taken (a repository inside it, a file that cannot be read) is left out rather than all being lost.
 *
 * @returns the ref and its commit; undefined where the agent changed nothing.
 * @throws {WireFault} `harvest-refused`; SandboxFault
 */
export async function salvage(order: HarvestOrder): Promise<{ ref: string; commit: string } | undefined> {
  const { repository, worktree } = order;
  const saved = await harvestSound(order);
  if (saved === undefined) return undefined;
  const commit = await makeCommit({
    repository,
    tree: saved.tree,
    parents: [worktree.commit],
    message: `Unfinished work of agent ${worktree.agentId}`,
    author: AUTHOR,
    trailers: { 'Capstan-Agent': worktree.agentId, 'Capstan-Task': worktree.taskId },
  });
  const ref = `refs/capstan/salvage/${agentId(worktree.agentId)}`;
  await repository.git(['update-ref', '-m', 'capstan: salvage', '--end-of-options', ref, commit]);
  return { ref, commit };
}

/** Without what fsck lets into no repository, where that is what stands in the way. */
async function harvestSound(order: HarvestOrder): Promise<Harvest | undefined> {
  try {
    return await harvestAny(order, 'sound');
  } catch (error) {
    if (!(error instanceof WireFault) || !(error.detail ?? '').includes('gitmodules')) throw error;
    return harvestAny(order, 'unruled');
  }
}
