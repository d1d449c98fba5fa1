/** Bounds of the pause between two attempts, in milliseconds. */
export interface Backoff {
  minMs: number;
  maxMs: number;
}

export const RECONNECT: Backoff = { minMs: 250, maxMs: 15_000 };

/**
 * The pause before attempt `attempt` (0 is the first repetition): a ceiling that doubles each time, of which the upper
 * half is random, so that the spokes of a restarted hub do not return in one instant ("equal jitter",
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export function reconnectDelayMs(attempt: number, backoff: Backoff, random: () => number = Math.random): number {
  const ceiling = Math.min(backoff.maxMs, backoff.minMs * 2 ** Math.min(attempt, 30));
  return Math.round(ceiling / 2 + random() * (ceiling / 2));
}
