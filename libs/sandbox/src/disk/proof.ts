/** By two looks, or by three at an agent that ran meanwhile. */
const ENOUGH = 3;

/**
 * How far it is proven that an agent is past its bound. A look at a tree that changes can count one file twice, so that one
 * look is none: several must say so, one after the other.
 */
export class Proof {
  private weight = 0;

  /** The last look said that the agent is past its bound; the next one should follow at once. */
  get isBegun(): boolean {
    return this.weight > 0;
  }

  /** @param still whether the agent stood still all the while @returns whether it is proven now */
  add(isPast: boolean, still: boolean): boolean {
    this.weight = isPast ? this.weight + (still ? 2 : 1) : 0;
    return this.weight >= ENOUGH;
  }
}
