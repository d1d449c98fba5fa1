import { ApiFault } from './api-fault.js';

/** An agent that counts the tokens of each of its tools asks that often at once. */
const MOST_AT_ONCE = 100;
const PER_SECOND = 1;

/** Bounds how often one agent may ask for what no budget bounds, because it costs nothing. */
export class FreeCalls {
  private left = MOST_AT_ONCE;
  private seenMs: number;

  /** @param now monotonic, milliseconds. */
  constructor(private readonly now: () => number) {
    this.seenMs = now();
  }

  /** For each request, before it is read. @throws {ApiFault} `rate_limit_error` */
  take(): void {
    const nowMs = this.now();
    this.left = Math.min(MOST_AT_ONCE, this.left + ((nowMs - this.seenMs) / 1000) * PER_SECOND);
    this.seenMs = nowMs;
    if (this.left < 1) throw new ApiFault('rate_limit_error', 'too many requests that cost nothing');
    this.left -= 1;
  }

  /** It was not free after all: its budget bounds it. */
  giveBack(): void {
    this.left += 1;
  }
}
