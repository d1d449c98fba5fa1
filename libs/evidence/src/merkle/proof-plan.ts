import { splitOf } from './tree-hash.js';

/** A subtree as [first leaf, end). */
export type LeafRange = readonly [start: number, end: number];

/** The subtrees whose roots prove that a leaf is in a tree: RFC 6962, 2.1.1 (PATH), in its order. */
export function inclusionPlan(index: number, size: number): LeafRange[] {
  if (!(index >= 0 && index < size)) throw new RangeError('no such leaf');
  const plan: LeafRange[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + splitOf(end - start);
    plan.push(index < middle ? [middle, end] : [start, middle]);
    [start, end] = index < middle ? [start, middle] : [middle, end];
  }
  return plan.reverse();
}

/** The subtrees whose roots prove that a tree begins with an earlier one: RFC 6962, 2.1.2 (PROOF), in its order. */
export function consistencyPlan(from: number, to: number): LeafRange[] {
  if (!(from >= 0 && from <= to)) throw new RangeError('the earlier tree is the smaller one');
  if (from === 0 || from === to) return [];
  const plan: LeafRange[] = [];
  let [start, end] = [0, to];
  // Until the earlier tree ends where a subtree ends.
  while (from !== end) {
    const middle = start + splitOf(end - start);
    plan.push(from <= middle ? [middle, end] : [start, middle]);
    [start, end] = from <= middle ? [start, middle] : [middle, end];
  }
  // Whoever has the earlier root knows a subtree that is the whole earlier tree.
  if (start > 0) plan.push([start, end]);
  return plan.reverse();
}
