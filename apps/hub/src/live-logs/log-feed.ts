import { type LogPage, WireFault } from '@capstan/protocol';
import { type LogPageView, logPageView } from '../agents/log-page.js';

type Line = LogPageView['lines'][number];

/** What a reader is told next: lines, and before them what is missing. */
export interface LogNews {
  lines: Line[];
  /** Lines behind `after` and before `next` are not told: they were dropped, here or at the instance. */
  gap?: { after: number; next: number };
}

/** What waits for one reader. */
const MOST_BYTES = 512 * 1_024;
/** Of one page, as docs/protocol.md says. */
const MOST_LINES = 5_000;
/** Told at once. */
const BATCH_LINES = 500;

/** Lines on their way to one reader: bounded, the oldest give way, and what is missing is told by its numbers. */
export class LogFeed {
  private waiting: Line[] = [];
  private bytes = 0;
  private queued: number;

  /** @param told sequence of the last line that the reader has. */
  constructor(private told: number) {
    this.queued = told;
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  /** Sequence of the last line that was taken. */
  get last(): number {
    return this.queued;
  }

  /** Takes what the instance tells; lines that were taken already change nothing. @throws WireFault `payload-malformed` */
  take(page: LogPage): void {
    if (page.lines.length > MOST_LINES) throw new WireFault('payload-malformed', 'too many lines');
    for (const line of logPageView(page).lines) {
      if (!Number.isSafeInteger(line.sequence)) throw new WireFault('payload-malformed', 'sequence');
      if (line.sequence <= this.queued) continue;
      this.queued = line.sequence;
      this.waiting.push(line);
      this.bytes += sizeOf(line);
    }
    this.shed();
  }

  /** The next lines; undefined where none wait. */
  next(): LogNews | undefined {
    const lines = this.waiting.splice(0, BATCH_LINES);
    const [first, final] = [lines[0], lines.at(-1)];
    if (first === undefined || final === undefined) return undefined;
    for (const line of lines) this.bytes -= sizeOf(line);
    const gap = first.sequence > this.told + 1 ? { gap: { after: this.told, next: first.sequence } } : {};
    this.told = final.sequence;
    return { lines, ...gap };
  }

  private shed(): void {
    let drop = 0;
    for (; this.bytes > MOST_BYTES && drop < this.waiting.length - 1; drop += 1)
      this.bytes -= sizeOf(this.waiting[drop]);
    if (drop > 0) this.waiting.splice(0, drop);
  }
}

function sizeOf(line: Line | undefined): number {
  return line === undefined ? 0 : line.text.length + line.source.length + 96;
}
