import { readFileSync } from 'node:fs';

/**
 * Milliseconds since this boot, time in suspend included; in steps of 10, and never backwards within one boot.
 *
 * Node's clocks are CLOCK_MONOTONIC, which stands still in suspend. The first field of /proc/uptime is CLOCK_BOOTTIME
 * (Linux, fs/proc/uptime.c: ktime_get_boottime_ts64, moved by the reader's time namespace).
 *
 * @throws Error where it cannot be read: then no time is known
 */
export function bootTimeMs(): number {
  const seconds = /^(\d+\.\d\d) /.exec(readFileSync('/proc/uptime', 'latin1'))?.[1];
  if (seconds === undefined) throw new Error('/proc/uptime does not begin with a time');
  return Math.round(Number(seconds) * 1000);
}
