import { bytesEqual } from '@capstan/protocol';
import { EMPTY_ROOT, HASH_BYTES, nodeHash } from './tree-hash.js';

/** A tree of which somebody has signed, or remembers, size and root. */
export interface TreeState {
  /** Leaves. */
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
}

/** Whether `path` proves that the leaf of this hash and index (from 0) is in the tree; RFC 9162, 2.1.3.2. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  tree: TreeState,
  path: readonly Uint8Array[],
): boolean {
  if (!(index >= 0 && index < tree.size) || !path.every(isHash)) return false;
  const at = { first: index, last: tree.size - 1 };
  let root = leaf;
  for (const node of path) {
    if (at.last === 0) return false;
    if (isRight(at)) {
      root = nodeHash(node, root);
      climbToRight(at);
    } else root = nodeHash(root, node);
    climb(at);
  }
  return at.last === 0 && bytesEqual(root, tree.root);
}

/** Whether `path` proves that the later tree begins with the whole earlier one; RFC 9162, 2.1.4.2. */
export function verifyConsistency(earlier: TreeState, later: TreeState, path: readonly Uint8Array[]): boolean {
  if (earlier.size > later.size || !path.every(isHash)) return false;
  if (earlier.size === later.size) return path.length === 0 && bytesEqual(earlier.root, later.root);
  if (earlier.size === 0) return path.length === 0 && bytesEqual(earlier.root, EMPTY_ROOT);
  const at = { first: earlier.size - 1, last: later.size - 1 };
  while (at.first % 2 === 1) climb(at);
  // An earlier tree that is perfect is itself the first node.
  const [first, ...rest] = at.first === 0 ? [earlier.root, ...path] : path;
  if (first === undefined) return false;
  let [before, after] = [first, first];
  for (const node of rest) {
    if (at.last === 0) return false;
    if (isRight(at)) {
      before = nodeHash(node, before);
      after = nodeHash(node, after);
      climbToRight(at);
    } else after = nodeHash(after, node);
    climb(at);
  }
  return at.last === 0 && bytesEqual(before, earlier.root) && bytesEqual(after, later.root);
}

/** Where a proof has come to: a node's index in its level, and that of the level's last node. */
interface Place {
  first: number;
  last: number;
}

const isHash = (node: Uint8Array): boolean => node.length === HASH_BYTES;
const isRight = ({ first, last }: Place): boolean => first % 2 === 1 || first === last;

function climb(at: Place): void {
  at.first = Math.floor(at.first / 2);
  at.last = Math.floor(at.last / 2);
}

/** A last node without a sibling is its own parent. */
function climbToRight(at: Place): void {
  while (at.first % 2 === 0 && at.first !== 0) climb(at);
}
