import { CompactRange, perfectSubtrees } from './compact-range.js';
import { PackedHashes } from './packed-hashes.js';
import { consistencyPlan, inclusionPlan, type LeafRange } from './proof-plan.js';
import { leafHash, nodeHash, splitOf } from './tree-hash.js';

/** The chain hashes of the entries with the indices [start, end), from where the log is kept. */
export type EntryReader = (start: number, end: number) => Promise<readonly Uint8Array[]>;

/** Subtrees below this level are not kept: their leaves are read again where a proof needs them. */
const TILE_LEVEL = 10;
const TILE = 2 ** TILE_LEVEL;
/** Proofs that are kept: thousands of peers hold heads of a handful of sizes, and a proof takes a millisecond to make. */
const MOST_PROOFS = 64;

/**
 * RFC 6962's tree over a log's chain hashes. In memory are the roots of the perfect subtrees of 1,024 leaves and more,
 * and the leaves of the last two of those: 4 MB for ten million entries (measured). Sizes are safe integers.
 */
export class MerkleTree {
  private readonly range = CompactRange.empty();
  /** By level above the tiles. */
  private readonly levels: PackedHashes[] = [];
  private recent: Uint8Array[] = [];
  private readonly proofs = new Map<string, readonly Uint8Array[]>();

  constructor(private readonly read: EntryReader) {}

  get size(): number {
    return this.range.size;
  }

  /** Adds the chain hash of the next entry. */
  append(entry: Uint8Array): void {
    const leaf = leafHash(entry);
    if (this.recent.length === 2 * TILE) this.recent = this.recent.slice(TILE);
    this.recent.push(leaf);
    this.range.append(leaf, (level, node) => this.keep(level, node));
  }

  root(): Uint8Array {
    return this.range.root();
  }

  /** The root when the tree had `size` leaves. */
  async rootAt(size: number): Promise<Uint8Array> {
    return CompactRange.of(size, await this.compactRange(size)).root();
  }

  /** Proves that entry `index`, from 0, is among the first `size`. @throws RangeError */
  async inclusionProof(index: number, size: number): Promise<Uint8Array[]> {
    return await this.nodes(size, inclusionPlan(index, size));
  }

  /** Proves that the tree of `to` leaves begins with the one of `from` leaves. @throws RangeError */
  async consistencyProof(from: number, to: number): Promise<readonly Uint8Array[]> {
    const name = `${String(from)} ${String(to)}`;
    const made = this.proofs.get(name) ?? (await this.nodes(to, consistencyPlan(from, to)));
    this.proofs.delete(name);
    this.proofs.set(name, made);
    const [oldest] = this.proofs.keys();
    if (oldest !== undefined && this.proofs.size > MOST_PROOFS) this.proofs.delete(oldest);
    return made;
  }

  /** The nodes of a {@link CompactRange} over the first `size` entries. @throws RangeError */
  compactRange(size: number): Promise<Uint8Array[]> {
    return this.nodes(size, perfectSubtrees(size));
  }

  private async nodes(size: number, plan: readonly LeafRange[]): Promise<Uint8Array[]> {
    if (!(size <= this.size)) throw new RangeError('the tree is not that large');
    const nodes: Uint8Array[] = [];
    for (const [start, end] of plan) nodes.push(await this.nodeOf(start, end));
    return nodes;
  }

  private async nodeOf(start: number, end: number): Promise<Uint8Array> {
    const width = end - start;
    const level = Math.log2(width);
    if (width >= TILE && Number.isInteger(level)) return this.kept(level, start / width);
    if (width < TILE) return rootOf(await this.leaves(start, end));
    const middle = start + splitOf(width);
    return nodeHash(await this.nodeOf(start, middle), await this.nodeOf(middle, end));
  }

  private async leaves(start: number, end: number): Promise<readonly Uint8Array[]> {
    const first = this.size - this.recent.length;
    if (start >= first) return this.recent.slice(start - first, end - first);
    const entries = await this.read(start, end);
    if (entries.length !== end - start) throw new RangeError('entries are missing');
    return entries.map(leafHash);
  }

  private keep(level: number, node: Uint8Array): void {
    if (level < TILE_LEVEL) return;
    (this.levels[level - TILE_LEVEL] ??= new PackedHashes()).push(node);
  }

  private kept(level: number, index: number): Uint8Array {
    const nodes = this.levels[level - TILE_LEVEL];
    if (nodes === undefined) throw new RangeError('no such level');
    return nodes.at(index);
  }
}

function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  const range = CompactRange.empty();
  for (const leaf of leaves) range.append(leaf);
  return range.root();
}
