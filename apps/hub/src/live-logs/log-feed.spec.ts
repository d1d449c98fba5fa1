import { create, LogPageSchema } from '@capstan/protocol';
import { LogFeed } from './log-feed.js';

const text = 'x'.repeat(10_000);
const page = (from: number, to: number) =>
  create(LogPageSchema, {
    lines: Array.from({ length: to - from + 1 }, (_, at) => ({ sequence: BigInt(from + at), source: 'agent', text })),
  });

describe('the lines that wait for a reader', () => {
  it('are half a megabyte at most: the oldest give way, and their numbers are told', () => {
    const feed = new LogFeed(0);
    // 20 MB.
    for (let from = 1; from <= 2_000; from += 20) feed.take(page(from, from + 19));
    const news = feed.next();
    const lines = news?.lines ?? [];
    expect(lines.reduce((sum, line) => sum + line.text.length, 0)).toBeLessThanOrEqual(512 * 1_024);
    expect(lines.at(-1)?.sequence).toBe(2_000);
    expect(news?.gap).toEqual({ after: 0, next: lines[0]?.sequence });
    expect(feed.isEmpty).toBe(true);
  });
});
