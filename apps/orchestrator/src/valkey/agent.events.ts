import type { Redis } from 'ioredis';
import { CHANNELS, KEYS } from './keys.js';

/**
 * What an entry of the stream may tell: a changed agent, that one was cleaned up, has stalled or goes on, was written to, has had
 * its conversation summed up.
 */
export const EVENT_KINDS = ['agent', 'cleaned', 'stall', 'message', 'compaction'] as const;
export type AgentEventKind = (typeof EVENT_KINDS)[number];

/** One entry of the stream. */
export interface AgentEvent {
  /** Cursor: pass it as `after` to go on behind this event. */
  id: string;
  kind: AgentEventKind;
  /** JSON of an AgentView, of {agentId, cleanedAt}, of a StallNotice, of a MessageNotice, or of a CompactionNotice. */
  json: string;
}

/** Changes between the last one that was read and the next were dropped: whoever reads must list the agents anew. */
export interface EventGap {
  kind: 'gap';
}

const PAGE = 500;
/** Stream ids that Valkey accepts; `0` is the beginning. */
export const CURSOR = /^\d{1,19}(?:-\d{1,19})?$/;

/** Every change of every agent, in order, from a cursor on. */
export class AgentEvents {
  private readonly waiting = new Set<() => void>();
  private news = 0;

  /** @param client for reading. @param subscriber a connection of its own: it is only told when there is something new. */
  constructor(
    private readonly client: Redis,
    private readonly subscriber: Redis,
  ) {}

  /** Listens for news; also after each reconnect, for what was missed meanwhile. */
  async start(): Promise<void> {
    this.subscriber.on('message', () => {
      this.wake();
    });
    this.subscriber.on('ready', () => {
      this.wake();
    });
    const { agents, cleaned, stalls, messages, compactions } = CHANNELS;
    await this.subscriber.subscribe(agents, cleaned, stalls, messages, compactions);
  }

  /** Ends by itself only when `signal` is aborted. */
  async *read(after: string, signal: AbortSignal): AsyncGenerator<AgentEvent | EventGap> {
    let cursor = after;
    while (!signal.aborted) {
      const seen = this.news;
      const { isCut, entries } = await this.page(cursor);
      // At the beginning, or because whoever reads was slower than the oldest entries are kept.
      if (isCut) yield { kind: 'gap' };
      for (const [id, [kind, json]] of entries) {
        cursor = id;
        if (isEventKind(kind) && json !== undefined) yield { id, kind, json };
      }
      // What came while it was read has raised the count: nothing slips between reading and waiting.
      if (entries.length === 0 && seen === this.news) await this.untilNews(signal);
    }
  }

  /**
   * The next entries, and whether some before them were trimmed, as of one moment; the latter is also true right behind
   * the last trimmed one, which harms nobody.
   */
  private async page(cursor: string): Promise<{ isCut: boolean; entries: [string, string[]][] }> {
    const step = this.client.multi().xrange(KEYS.events, `(${cursor}`, '+', 'COUNT', PAGE);
    const [range, info] = (await step.xinfo('STREAM', KEYS.events).exec()) ?? [];
    if (range?.[0] instanceof Error) throw range[0];
    // The second fails where there is no stream yet.
    return { isCut: isCutBefore(cursor, (info?.[1] ?? []) as unknown[]), entries: range?.[1] as [string, string[]][] };
  }

  private untilNews(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.waiting.add(done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }

  private wake(): void {
    this.news += 1;
    for (const done of [...this.waiting]) done();
  }
}

function isCutBefore(cursor: string, info: unknown[]): boolean {
  const field = (name: string): unknown => info[info.indexOf(name) + 1];
  if (info.length === 0 || Number(field('entries-added')) === Number(field('length'))) return false;
  const first = field('first-entry');
  return Array.isArray(first) && isAfter(String(first[0]), cursor);
}

function isEventKind(kind: string | undefined): kind is AgentEventKind {
  return EVENT_KINDS.some((known) => known === kind);
}

function isAfter(a: string, b: string): boolean {
  const [aMs = 0n, aSeq = 0n] = a.split('-').map(BigInt);
  const [bMs = 0n, bSeq = 0n] = b.split('-').map(BigInt);
  return aMs > bMs || (aMs === bMs && aSeq > bSeq);
}
