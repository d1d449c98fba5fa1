import { EMPTY_ROOT, nodeHash } from './tree-hash.js';

/**
 * A growing tree of which only the roots of its perfect subtrees are kept, largest first: one for each bit that is set
 * in its size. Enough to append and to have the root, at most 53 hashes.
 */
export class CompactRange {
  private constructor(
    private leaves: number,
    private readonly roots: Uint8Array[],
  ) {}

  static empty(): CompactRange {
    return new CompactRange(0, []);
  }

  /** The range that was given as `nodes()`. @throws RangeError where the count does not fit the size */
  static of(size: number, nodes: readonly Uint8Array[]): CompactRange {
    if (nodes.length !== perfectSubtrees(size).length) throw new RangeError('a compact range has a node for each bit');
    return new CompactRange(size, [...nodes]);
  }

  get size(): number {
    return this.leaves;
  }

  /** Adds the hash of a leaf; `onNode` hears of each perfect subtree that it completes, by its level above the leaves. */
  append(leaf: Uint8Array, onNode?: (level: number, node: Uint8Array) => void): void {
    let node = leaf;
    let level = 0;
    for (let rest = this.leaves; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      const left = this.roots.pop();
      if (left !== undefined) node = nodeHash(left, node);
      level += 1;
      onNode?.(level, node);
    }
    this.roots.push(node);
    this.leaves += 1;
  }

  /** The tree's root, RFC 6962's MTH. */
  root(): Uint8Array {
    return (
      this.roots.reduceRight<Uint8Array | undefined>(
        (right, left) => (right === undefined ? left : nodeHash(left, right)),
        undefined,
      ) ?? EMPTY_ROOT
    );
  }

  nodes(): Uint8Array[] {
    return [...this.roots];
  }
}

/** The perfect subtrees of a tree of `size` leaves as [first leaf, end), from the left. */
export function perfectSubtrees(size: number): [number, number][] {
  const ranges: [number, number][] = [];
  let start = 0;
  for (let width = 2 ** 52; width >= 1; width /= 2) {
    if (size - start < width) continue;
    ranges.push([start, start + width]);
    start += width;
  }
  return ranges;
}
