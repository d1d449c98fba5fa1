/**
 * Git on the host: bare repositories, a worktree per agent, the harvest of what an agent left, commits and pushes.
 *
 * The one rule of this room: git on the host never opens a work tree that an agent has written. Imports sandbox (the
 * harvest runs in one) and protocol.
 */
export { RepositoryStore } from './repository.store.js';
export type { BareRepository, BranchHead } from './bare-repository.js';
export type { Worktree, WorktreeRecord } from './worktree.js';
export { harvest, holdHarvest, type HarvestOrder } from './harvest.js';
export { HarvestInterrupted } from './harvest-interrupted.js';
export { quarantinesOf, type HeldHarvest } from './held-harvest.js';
export { HARVEST_LIMITS, type Harvest } from './harvest-limits.js';
export { commitHarvest, type Author, type CommitOrder } from './commit.js';
export { push } from './push.js';
export { salvage } from './salvage.js';
export { salvageDirOf } from './salvage-repository.js';
export { changesOf, quotePath, type Change } from './tree-changes.js';
export { PushFault, type PushFaultReason } from './push-fault.js';
export { standWork, type WorkStand } from './stand-work.js';
export type { ConflictFile } from './conflict-file.js';
export { diskFault } from './disk-fault.js';
export { makeCommit } from './commit.js';
export { absentContents } from './absent-contents.js';
export { pruneWorktrees, removeHeld, removeLocks } from './prune-worktrees.js';
