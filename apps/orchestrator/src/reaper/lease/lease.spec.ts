import fc from 'fast-check';
import type { Moment } from './clock.js';
import { isNewer, leftMs, type Lease } from './lease.js';

const taken: Moment = { wallMs: 1_000_000, bootMs: 5_000, bootId: 'boot' };
const lease: Lease = { hubId: 'hub', sessionEpoch: 7n, counter: 3n, durationMs: 60_000, taken };
const later = (wall: number, boot: number): Moment => ({
  ...taken,
  wallMs: taken.wallMs + wall,
  bootMs: taken.bootMs + boot,
});

describe('a lease', () => {
  it('leaves an agent what it was given, and never more than the hub stands for', () => {
    expect(leftMs(lease, 10_000, later(4_000, 4_000))).toBe(6_000);
    expect(leftMs(lease, 3_600_000, later(4_000, 4_000))).toBe(56_000);
  });

  it('ends by the clock that has gone further, whatever the other one does', () => {
    const jump = fc.integer({ min: -86_400_000, max: 86_400_000 });
    const passed = fc.nat({ max: 86_400_000 });
    fc.assert(
      fc.property(jump, passed, fc.nat({ max: 600_000 }), (wall, boot, killAfterMs) => {
        const left = leftMs(lease, killAfterMs, later(wall, boot));
        expect(left).toBeLessThanOrEqual(killAfterMs - boot);
        expect(left).toBeLessThanOrEqual(killAfterMs - wall);
        expect(left).toBeLessThanOrEqual(lease.durationMs - boot);
      }),
    );
  });

  it('has ended where there was none, and on another boot', () => {
    expect(leftMs(undefined, 10_000, taken)).toBe(0);
    expect(leftMs(lease, 10_000, { ...taken, bootId: 'another' })).toBe(0);
  });

  it('is renewed by what comes after it only: by session first, by counter within it', () => {
    const renewal = (sessionEpoch: bigint, counter: bigint, hubId = 'hub') => ({
      hubId,
      sessionEpoch,
      counter,
      durationMs: 1,
    });
    expect(isNewer(renewal(7n, 4n), lease)).toBe(true);
    expect(isNewer(renewal(7n, 3n), lease)).toBe(false);
    expect(isNewer(renewal(8n, 1n), lease)).toBe(true);
    expect(isNewer(renewal(6n, 99n), lease)).toBe(false);
    expect(isNewer(renewal(1n, 1n, 'another'), lease)).toBe(true);
    expect(isNewer(renewal(1n, 1n), undefined)).toBe(true);
  });
});
