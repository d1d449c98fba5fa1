import { encodeEnvelope, type Envelope } from '@capstan/protocol';
import type { MerkleTree } from '../merkle/merkle-tree.js';
import type { TreeState } from '../merkle/verify-proof.js';
import type { TreeProof } from './peer-log.js';

/** One's own log, as heads of it are made. */
export interface OwnLog {
  readonly tree: MerkleTree;
  /** Resolves once the tree has every entry that was on disk when it was called. */
  refresh(): Promise<void>;
}

/** What a heartbeat says of the sender's log. */
export interface OfferedHead {
  treeHead: Uint8Array;
  treeProof?: TreeProof;
}

/** However many heartbeats a peer sends. */
const PAUSE_MS = 2_000;

/**
 * Heads of one's own log for one peer over one link: prepared when a heartbeat of the peer has told what it holds, taken
 * by the next heartbeat to it. The first head on a link goes out even where the log has not grown, so that a log that was
 * replaced by another of the same size is found out.
 */
export class HeadOffer {
  private next: OfferedHead | undefined;
  private offered: { size: number; held: number } | undefined;
  private preparedAtMs = -Infinity;

  constructor(
    private readonly log: OwnLog,
    private readonly sign: (state: TreeState) => Envelope,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** The peer holds a head of `held` entries, 0 for none. Resolves once the next head is ready, if there is one. */
  async heard(held: number): Promise<void> {
    const nowMs = this.now();
    if (nowMs - this.preparedAtMs < PAUSE_MS) return;
    this.preparedAtMs = nowMs;
    await this.log.refresh();
    const { tree } = this.log;
    // Before the proof is made: the log may grow meanwhile.
    const { size } = tree;
    if (size === 0 || !this.isNews(size, held)) return;
    const root = tree.root();
    const isProvable = held > 0 && held < size;
    const proof = isProvable ? { treeProof: { from: held, hashes: await tree.consistencyProof(held, size) } } : {};
    this.next = { treeHead: encodeEnvelope(this.sign({ size, root })), ...proof };
    this.offered = { size, held };
  }

  /** The head that is ready, once. */
  take(): OfferedHead | undefined {
    const { next } = this;
    this.next = undefined;
    return next;
  }

  private isNews(size: number, held: number): boolean {
    if (this.offered === undefined) return true;
    return size !== held && (this.offered.size !== size || this.offered.held !== held);
  }
}
