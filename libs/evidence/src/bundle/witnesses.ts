import { bytesEqual } from '@capstan/protocol';
import type { VerifiedHead } from '../heads/tree-head.js';
import type { CompactRange } from '../merkle/compact-range.js';
import { Flaw } from './flaw.js';

/** The heads that the other side has kept, held against a log while it is read. */
export class Witnesses {
  private readonly waiting: VerifiedHead[];
  private readonly skipped: VerifiedHead[] = [];
  private agreed = 0;
  /** The log holds up to here. */
  private agreedSize = 0;

  constructor(
    heads: readonly VerifiedHead[],
    private readonly head: VerifiedHead,
  ) {
    const stranger = heads.find(({ logId }) => logId !== head.logId);
    if (stranger !== undefined) {
      throw new Flaw('witness-signature', null, `a head of ${stranger.logId} says nothing of the log of ${head.logId}`);
    }
    this.waiting = [...heads].sort((a, b) => a.size - b.size);
  }

  /** Compares the log as far as it was read with the heads of that size. */
  compare(range: CompactRange): void {
    for (let next = this.waiting[0]; next !== undefined && next.size <= range.size; next = this.waiting[0]) {
      this.waiting.shift();
      if (next.size < range.size) this.skipped.push(next);
      else this.confirm(next, range.root());
    }
  }

  /** The first entry that can be the one at fault, if something is wrong further on. */
  suspect(from: number): number {
    return Math.max(from, this.agreedSize + 1);
  }

  /** Heads that agree, and heads of which this part of the log says nothing. */
  summary(): { agreed: number; beyond: number } {
    const { size, root } = this.head;
    const longest = this.waiting.at(-1);
    if (longest !== undefined && longest.size > size) {
      const why = `the log ends at ${String(size)}, but its owner has signed ${String(longest.size)} entries to the other side`;
      throw new Flaw('witness', size + 1, why);
    }
    const other = this.waiting.find((kept) => kept.size === size && !bytesEqual(kept.root, root));
    if (other !== undefined) throw this.contradiction(other);
    return { agreed: this.agreed, beyond: this.waiting.length + this.skipped.length };
  }

  private confirm(kept: VerifiedHead, root: Uint8Array): void {
    if (!bytesEqual(kept.root, root)) throw this.contradiction(kept);
    this.agreed += 1;
    this.agreedSize = kept.size;
  }

  private contradiction({ size }: VerifiedHead): Flaw {
    const first = this.agreedSize + 1;
    const which =
      first === size
        ? `entry ${String(size)} is not the one`
        : `among entries ${String(first)} to ${String(size)} is one that is not that`;
    return new Flaw('witness', first, `${which} of which the other side keeps the owner's signed head`);
  }
}
