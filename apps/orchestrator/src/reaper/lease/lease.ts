import type { Moment } from './clock.js';

/** What a renewal says. */
export interface Renewal {
  /** Who stands for the agents. */
  hubId: string;
  sessionEpoch: bigint;
  counter: bigint;
  durationMs: number;
}

/** The last renewal that was taken, and when. */
export interface Lease extends Renewal {
  taken: Moment;
}

/** Whether it comes after what was taken last; what another hub said is no measure. */
export function isNewer(renewal: Renewal, last: Lease | undefined): boolean {
  if (last?.hubId !== renewal.hubId) return true;
  if (renewal.sessionEpoch !== last.sessionEpoch) return renewal.sessionEpoch > last.sessionEpoch;
  return renewal.counter > last.counter;
}

/**
 * Milliseconds that an agent may still live, by the clock that leaves it less; 0 or less where its lease has ended.
 * A lease of another boot has ended: so have its agents, and how long ago nobody can say.
 */
export function leftMs(lease: Lease | undefined, killAfterMs: number, now: Moment): number {
  if (lease?.taken.bootId !== now.bootId) return 0;
  const passed = Math.max(now.bootMs - lease.taken.bootMs, now.wallMs - lease.taken.wallMs);
  return Math.min(lease.durationMs, killAfterMs) - passed;
}
