interface Waiting {
  left: number;
  sinceMs: number;
  begin: () => void;
}

/** One piece of work at a time; of those that wait, the one with least left comes first. */
export class PriorityMutex {
  private isTaken = false;
  private readonly waiting: Waiting[] = [];

  /** @param patienceMs who has waited for so long comes before all others, whatever he has left */
  constructor(private readonly patienceMs: number) {}

  /** Rejects as `work` does; the turn is passed on all the same. */
  async take<T>(left: number, work: () => Promise<T>): Promise<T> {
    if (this.isTaken) {
      await new Promise<void>((begin) => this.waiting.push({ left, sinceMs: performance.now(), begin }));
    }
    this.isTaken = true;
    try {
      return await work();
    } finally {
      const next = this.next();
      // Handed over, so that nobody gets in between.
      if (next === undefined) this.isTaken = false;
      else next.begin();
    }
  }

  private next(): Waiting | undefined {
    const [oldest] = this.waiting;
    if (oldest === undefined) return undefined;
    const isLate = performance.now() - oldest.sinceMs >= this.patienceMs;
    const next = isLate ? oldest : this.waiting.reduce((one, other) => (other.left < one.left ? other : one));
    this.waiting.splice(this.waiting.indexOf(next), 1);
    return next;
  }
}
