import { agentId, stripControl, WireFault } from '@capstan/protocol';
import { makeCommit } from './commit.js';
import { holdAny, type HarvestOrder, type HarvestPart } from './harvest.js';
import { HarvestInterrupted } from './harvest-interrupted.js';
import { HARVEST_LIMITS, type HarvestLimits } from './harvest-limits.js';
import type { HeldHarvest } from './held-harvest.js';
import { salvageRepositoryOf } from './salvage-repository.js';

/** It is pushed nowhere and looked through by nobody: rather late and much than lost. */
const LIMITS: HarvestLimits = { ...HARVEST_LIMITS, timeoutMs: 300_000, files: 200_000 };
/** Where it is too much altogether, files are left out that are larger than this part of what one may have, and again. */
const STEP = 16;
const STEPS = 4;
const AUTHOR = { name: 'Capstan salvage', email: 'agent@capstan.invalid' };

/**
 * Saves an agent's unfinished work before its worktree is removed: to `refs/capstan/salvage/<agent>` of a repository that no
 * agent reads. What cannot be taken (a repository inside it, a file that cannot be read or is too large) is left out rather
 * than all being lost.
 *
 * @returns the ref, its commit, and what is not in it; undefined where the agent changed nothing.
 * @throws {WireFault} `harvest-refused`; HarvestInterrupted; SandboxFault
 */
export async function salvage(
  order: HarvestOrder,
): Promise<{ ref: string; commit: string; leftOut: readonly string[] } | undefined> {
  const { repository, worktree } = order;
  await using saved = await harvestSound({ ...order, limits: { ...LIMITS, ...order.limits } });
  if (saved === undefined) return undefined;
  const kept = await salvageRepositoryOf(repository);
  await saved.keep(kept);
  const commit = await makeCommit({
    repository: kept,
    tree: saved.tree,
    parents: [worktree.commit],
    message: [
      `Unfinished work of agent ${worktree.agentId}`,
      ...saved.leftOut.map((name) => `Too large, left out: ${name}`),
    ]
      .map(stripControl)
      .join('\n\n'),
    author: AUTHOR,
    trailers: { 'Capstan-Agent': worktree.agentId, 'Capstan-Task': worktree.taskId },
  });
  const ref = `refs/capstan/salvage/${agentId(worktree.agentId)}`;
  await kept.git(['update-ref', '-m', 'capstan: salvage', '--end-of-options', ref, commit]);
  return { ref, commit, leftOut: saved.leftOut };
}

/** Without what fsck lets into no repository, where that is what stands in the way, and with ever smaller files alone. */
async function harvestSound(order: HarvestOrder): Promise<HeldHarvest | undefined> {
  let part: HarvestPart = 'sound';
  let fileBytes = order.limits?.fileBytes ?? LIMITS.fileBytes;
  for (let step = 1; ;) {
    try {
      return await holdAny({ ...order, limits: { ...order.limits, fileBytes } }, part);
    } catch (error) {
      if (!(error instanceof WireFault) || error instanceof HarvestInterrupted) throw error;
      if (part === 'sound' && (error.detail ?? '').includes('gitmodules')) part = 'unruled';
      else if (step < STEPS) [step, fileBytes] = [step + 1, Math.floor(fileBytes / STEP)];
      else throw error;
    }
  }
}
