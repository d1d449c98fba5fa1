/** Callers that are remembered; an attacker with more addresses than that meets the limit for all. */
const MOST_CALLERS = 10_000;

/** How many calls are let through in a window of time. */
export interface Rate {
  windowMs: number;
  perCaller: number;
  forAll: number;
}

/** Counts calls by caller in fixed windows of steady time: a clock that is set ahead and back again shuts nobody out. */
export class RateLimit {
  private counts = new Map<string, number>();
  private total = 0;
  private until = 0;

  constructor(private readonly rate: Rate) {}

  /** Counts the call; false where it is one too many. */
  allows(caller: string, nowMs = performance.now()): boolean {
    if (nowMs >= this.until) {
      this.counts = new Map();
      this.total = 0;
      this.until = nowMs + this.rate.windowMs;
    }
    const count = (this.counts.get(caller) ?? 0) + 1;
    if (this.counts.size < MOST_CALLERS || this.counts.has(caller)) this.counts.set(caller, count);
    // What one caller has too many of must not use up what is there for all.
    if (count > this.rate.perCaller) return false;
    this.total += 1;
    return this.total <= this.rate.forAll;
  }

  /** Takes back a call that turned out to be welcome. */
  refund(caller: string): void {
    const count = this.counts.get(caller);
    if (count === undefined || count === 0) return;
    this.counts.set(caller, count - 1);
    this.total -= 1;
  }
}
