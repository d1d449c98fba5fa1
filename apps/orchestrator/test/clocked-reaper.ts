import { readFileSync } from 'node:fs';
import { hostClock } from '../src/reaper/lease/clock.js';
import { runReaper } from '../src/reaper/run-reaper.js';

/**
 * The reaper's process on a host whose clocks jump: CAPSTAN_TEST_CLOCK names a file with {wallMs, bootMs}, which is how far
 * each clock is from the true one. Everything else of it is the real thing.
 */
const file = process.env['CAPSTAN_TEST_CLOCK'] ?? '';

await runReaper(() => {
  const shift = JSON.parse(readFileSync(file, 'utf8')) as { wallMs: number; bootMs: number };
  const { wallMs, bootMs, bootId } = hostClock();
  return { wallMs: wallMs + shift.wallMs, bootMs: bootMs + shift.bootMs, bootId };
});
