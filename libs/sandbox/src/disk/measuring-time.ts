/** Between two measurements of one agent. */
export const LEAST_PAUSE_MS = 2_000;
/** Where it makes them not too seldom, all measurements of this process take about one part in so many of a processor. */
const SHARE = 20;
/** One of an agent that may have no room left takes at most one part in so many. */
const HURRIED_SHARE = 4;
/** Beyond it an agent could buy itself time by what is slow to count. */
export const LONGEST_PAUSE_MS = 120_000;

export interface SinceMeasured {
  /** Since the last measurement ended. */
  sinceMs: number;
  /** What it took. */
  tookMs: number;
  /** Agents that are measured by this process. */
  watching: number;
  /** What its file systems have lost since then, to whomever. */
  lostBytes: number;
  /** What the agent had left then. */
  leftBytes: number;
}

/** Whether an agent is to be measured again: seldom where that is costly, and sooner where it may have used what it had left. */
export function isDue({ sinceMs, tookMs, watching, lostBytes, leftBytes }: SinceMeasured): boolean {
  const seldom = Math.min(SHARE * tookMs * watching, LONGEST_PAUSE_MS);
  const pause = lostBytes >= leftBytes ? Math.min(HURRIED_SHARE * tookMs, seldom) : seldom;
  return sinceMs >= Math.max(LEAST_PAUSE_MS, pause);
}
