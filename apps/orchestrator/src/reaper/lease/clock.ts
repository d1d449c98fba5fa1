import { bootId, bootTimeMs } from '@capstan/sandbox';

/** One moment on both clocks of a host, milliseconds. */
export interface Moment {
  /** Wall clock: it goes on through a suspend and a reboot, and anybody may set it. */
  wallMs: number;
  /** Time since boot, suspend included: nobody can set it, and it means nothing on another boot. */
  bootMs: number;
  bootId: string;
}

/** Tells the time; the tests have clocks that jump. @throws Error where no time is known */
export type Clock = () => Moment;

export const hostClock: Clock = () => ({ wallMs: Date.now(), bootMs: bootTimeMs(), bootId: bootId() });
