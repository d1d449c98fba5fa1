import type { BareRepository } from './bare-repository.js';
import { makeCommit, type CommitOrder } from './commit.js';
import { branchName, objectId } from './refs.js';
import { isAncestor, trialMerge, type TrialMerge } from './trial-merge.js';

export interface WorkOrder extends Omit<CommitOrder, 'parents' | 'branch'> {
  /** Commit that the agent was given. */
  base: string;
  /** Commit of the source that the agent says it has taken into its files, and how it wants to stand on it. */
  onto?: { commit: string; by: 'rebase' | 'merge'; earlierTree?: string | undefined } | undefined;
  /** Branch that is pushed. */
  branch: string;
  /** Branch that the agent was given, by its ref in the repository. */
  targetRef: string;
  /** The same, as people know it. */
  target: string;
}

/** Where the work stands among what others have pushed. */
export type WorkStand =
  | {
      kind: 'fits';
      tree: string;
      parents: string[];
      /** Commit against which the work is new. */
      base: string;
      /** Where the pushed branch is at the source; undefined where it is not there. */
      expected: string | undefined;
      /** Commit against which the agent's own tree is new; that one is in the history too. */
      ownBase: string;
    }
  | { kind: 'conflict'; with: string; onto: string; merge: Exclude<TrialMerge, { kind: 'clean' }>; ownBase: string }
  /** The branch that the agent was given is gone. */
  | { kind: 'target-missing' }
  /** The commit that the agent names is none that it could have been told. */
  | { kind: 'unknown-onto' };

/**
 * Compares a harvested tree with what the source has now; the repository must have been brought up to date. Work that can
 * be merged into the branch that it came from is left as it is, for whoever merges it; only its own branch, where somebody
 * else has pushed to that, becomes a part of it.
 *
 * @throws GitFault
 */
export async function standWork(order: WorkOrder): Promise<WorkStand> {
  const { repository, base, branch, targetRef, target, tree } = order;
  const targetHead = await repository.commitOf(targetRef);
  if (targetHead === undefined) return { kind: 'target-missing' };
  const expected = await repository.commitOf(`refs/remotes/origin/${branchName(branch)}`);
  const heads = [targetHead, ...(expected === undefined ? [] : [expected])];
  const parents = await parentsOf(order, heads);
  if (parents === undefined) return { kind: 'unknown-onto' };
  const ownBase = parents[0] ?? base;
  const stand = { kind: 'fits' as const, tree, parents, base: ownBase, expected, ownBase };
  const commit = await makeCommit({ ...order, parents });

  const own = expected === undefined ? undefined : await mergeUnlessIn(repository, commit, expected);
  if (own?.kind === 'conflict' || own?.kind === 'unrelated')
    return { kind: 'conflict', with: branch, onto: expected ?? '', merge: own, ownBase };
  if (own?.kind === 'clean' && expected !== undefined)
    Object.assign(stand, { tree: own.tree, parents: [expected, commit], base: expected });

  const whole = own === undefined ? commit : await makeCommit({ ...order, tree: stand.tree, parents: stand.parents });
  const merged = await mergeUnlessIn(repository, whole, targetHead);
  if (merged?.kind === 'conflict' || merged?.kind === 'unrelated')
    return { kind: 'conflict', with: target, onto: targetHead, merge: merged, ownBase };
  return stand;
}

/** undefined where the one is in the other's past already. */
async function mergeUnlessIn(
  repository: BareRepository,
  ours: string,
  theirs: string,
): Promise<TrialMerge | undefined> {
  if (await isAncestor(repository, theirs, ours)) return undefined;
  return trialMerge(repository, ours, theirs);
}

/** undefined where the agent names a commit that is not in the past of what the source has. */
async function parentsOf(order: WorkOrder, heads: readonly string[]): Promise<string[] | undefined> {
  const { repository, base, onto } = order;
  if (onto === undefined) return [base];
  const commit = await repository.commitOf(objectId(onto.commit));
  if (commit === undefined) return undefined;
  const known = await Promise.all(heads.map((head) => isAncestor(repository, commit, head)));
  if (!known.includes(true)) return undefined;
  if (onto.by === 'merge' && onto.earlierTree !== undefined) {
    const earlier = await makeCommit({ ...order, tree: onto.earlierTree, parents: [base] });
    return [commit, earlier];
  }
  return (await isAncestor(repository, base, commit)) ? [commit] : [commit, base];
}
