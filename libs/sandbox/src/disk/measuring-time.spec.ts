import { isDue, type SinceMeasured } from './measuring-time.js';

describe('an agent’s disk is measured again', () => {
  const due = (over: Partial<SinceMeasured>): boolean =>
    isDue({ sinceMs: 0, tookMs: 10, watching: 1, lostBytes: 0, leftBytes: 1000, ...over });

  it('after two seconds at the earliest', () => {
    expect([1999, 2000].map((sinceMs) => due({ sinceMs }))).toEqual([false, true]);
    expect(due({ sinceMs: 1999, lostBytes: 5000 })).toBe(false);
  });

  it('seldom where that is costly, or where there are many', () => {
    expect([19_999, 20_000].map((sinceMs) => due({ sinceMs, tookMs: 1000 }))).toEqual([false, true]);
    expect([19_999, 20_000].map((sinceMs) => due({ sinceMs, watching: 100 }))).toEqual([false, true]);
  });

  it('in time, however costly it is', () => {
    expect(due({ sinceMs: 120_000, tookMs: 60_000 })).toBe(true);
  });

  it('sooner where it may have used what it had left', () => {
    const costly = { tookMs: 3000, watching: 9 };
    expect([999, 1000].map((lostBytes) => due({ ...costly, sinceMs: 12_000, lostBytes }))).toEqual([false, true]);
    expect(due({ ...costly, sinceMs: 11_999, lostBytes: 1000 })).toBe(false);
  });
});
