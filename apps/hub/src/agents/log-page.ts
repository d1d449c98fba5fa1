import { type LogPage, stripControl } from '@capstan/protocol';

/** The farthest moment that a Date can hold: ECMA-262, 21.4.1.1. */
const LAST_MS = 8_640_000_000_000_000n;

/** A page of an agent's log as the API shows it. */
export interface LogPageView {
  lines: { sequence: number; at: string; source: string; text: string }[];
  /** Pass as `after` to go on. */
  next: number;
  /** True where lines before the first one were dropped. */
  gap: boolean;
}

/** What the instance says, safe to print. */
export function logPageView({ lines, next, gap }: LogPage): LogPageView {
  return {
    lines: lines.map(({ sequence, atMs, source, text }) => ({
      sequence: Number(sequence),
      at: new Date(atMs < 0n || atMs > LAST_MS ? 0 : Number(atMs)).toISOString(),
      source: stripControl(source),
      text: stripControl(text),
    })),
    next: Number(next),
    gap,
  };
}
