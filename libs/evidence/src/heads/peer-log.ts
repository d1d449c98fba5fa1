import { bytesEqual } from '@capstan/protocol';
import { type TreeState, verifyConsistency } from '../merkle/verify-proof.js';

/** A consistency proof from a size that the receiver holds. */
export interface TreeProof {
  readonly from: number;
  readonly hashes: readonly Uint8Array[];
}

/** How a peer's head contradicts what is held of its log. */
export type ConflictKind = 'shrunk' | 'other-root' | 'rewritten' | 'unproven';

/** For people: what each contradiction says of the peer's log. */
export const CONFLICT_SENTENCES: Readonly<Record<ConflictKind, string>> = {
  shrunk: 'The log has fewer entries than its owner has signed before.',
  'other-root': 'The log has other entries than its owner has signed before.',
  rewritten: 'The log has grown, but does not begin with the entries that its owner has signed before.',
  unproven: 'The log has grown, and its owner does not prove that it begins with the entries that were signed before.',
};

export interface LogConflict {
  readonly kind: ConflictKind;
  /** Of the head that contradicts. */
  readonly size: number;
  readonly heldSize: number;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

export type HeadVerdict =
  /** It is proven to extend what is held: keep it on disk, then call `hold`. */
  | { is: 'newer' }
  /** Nothing is to be done: it is the held one, or still to be proven. */
  | { is: 'known' | 'waiting' }
  /** A contradiction. `isNews` where it was not reported by the verdict before. */
  | { is: 'conflict'; conflict: LogConflict; isNews: boolean };

/** A peer that grows its log this long without a proof that fits is contradicting, not late. */
const PROOF_WAIT_MS = 60_000;

/**
 * What one side knows of the other's log: the last head that extends all before it, and whether a head has ever
 * contradicted it. Pure: disk, clock and signatures are the caller's.
 */
export class PeerLog {
  private state: TreeState | undefined;
  private unprovenSinceMs: number | undefined;
  private last: LogConflict | undefined;

  /** @param held the head on disk, if there is one. */
  constructor(held?: TreeState) {
    this.state = held;
  }

  get held(): TreeState | undefined {
    return this.state;
  }

  /** The last contradiction. It stays until somebody begins anew: a log that was once rewritten is not to be believed. */
  get conflict(): LogConflict | undefined {
    return this.last;
  }

  /** Judges a head whose signature holds. */
  judge(head: TreeState, proof: TreeProof | undefined, nowMs: number): HeadVerdict {
    const held = this.state;
    if (held === undefined) return { is: 'newer' };
    if (head.size < held.size) return this.contradicted('shrunk', head, held, nowMs);
    if (head.size === held.size) {
      return bytesEqual(head.root, held.root) ? { is: 'known' } : this.contradicted('other-root', head, held, nowMs);
    }
    // An empty log is the beginning of every other.
    if (held.size > 0 && proof?.from !== held.size) return this.unproven(head, held, nowMs);
    if (verifyConsistency(held, head, proof?.hashes ?? [])) return { is: 'newer' };
    return this.contradicted('rewritten', head, held, nowMs);
  }

  /** The head is on disk. */
  hold(head: TreeState): void {
    this.state = head;
    this.unprovenSinceMs = undefined;
  }

  private unproven(head: TreeState, held: TreeState, nowMs: number): HeadVerdict {
    this.unprovenSinceMs ??= nowMs;
    if (nowMs - this.unprovenSinceMs < PROOF_WAIT_MS) return { is: 'waiting' };
    return this.contradicted('unproven', head, held, nowMs);
  }

  private contradicted(kind: ConflictKind, head: TreeState, held: TreeState, atMs: number): HeadVerdict {
    const isNews = this.last?.kind !== kind || this.last.heldSize !== held.size;
    this.last = { kind, size: head.size, heldSize: held.size, atMs };
    return { is: 'conflict', conflict: this.last, isNews };
  }
}
