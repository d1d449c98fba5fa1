/**
 * Git on the host: bare repositories, a worktree per agent, the harvest of what an agent left, commits and pushes.
 *
 * The one rule of this room: git on the host never opens a work tree that an agent has written. Imports sandbox (the
 * harvest runs in one) and protocol.
 */
export { RepositoryStore } from './repository.store.js';
export type { BareRepository, BranchHead } from './bare-repository.js';
export type { Worktree, WorktreeRecord } from './worktree.js';
export { harvest, type HarvestOrder } from './harvest.js';
export type { Harvest } from './harvest-limits.js';
export { commitHarvest, type Author, type CommitOrder } from './commit.js';
export { push } from './push.js';
export { salvage } from './salvage.js';
