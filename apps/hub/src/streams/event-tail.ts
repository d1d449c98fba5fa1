import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@capstan/platform';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { type EventPage, EventStore } from './event.store.js';
import type { HubEvent } from './hub-event.js';

/** How often the database is asked for news while somebody reads: other hubs write there too. */
const ASK_MS = 100;
const AWAY_MS = 1_000;
/** Events that are kept for readers who are up to date; the others read from disk at their own pace. */
const MOST_KEPT = 2_000;

/**
 * The newest events, read once for all readers, and only while there are any. Nothing is queued for a reader: one that
 * falls behind what is kept here goes on from disk, so that it loses nothing and costs no memory.
 */
@Injectable()
export class EventTail implements OnModuleDestroy {
  private readonly log = createLogger('hub.events');
  private readonly waiting = new Set<() => void>();
  private kept: HubEvent[] = [];
  /** Every event behind `base`, up to `head`, is in `kept`. */
  private base = 0n;
  private head = 0n;
  private readers = 0;
  private running: Promise<void> | undefined;
  private readonly closing = new AbortController();

  constructor(private readonly store: EventStore) {}

  /** Events behind a cursor, in order, for ever; ends by itself only when `signal` is aborted. */
  async *follow(after: bigint, signal: AbortSignal): AsyncGenerator<HubEvent[]> {
    this.readers += 1;
    try {
      let cursor = after;
      while (!signal.aborted) {
        this.running ??= this.run();
        const { events, last, isFull } = await this.page(cursor);
        cursor = last;
        if (events.length > 0) yield events;
        else if (!isFull && cursor >= this.head) await this.news(signal);
      }
    } finally {
      this.readers -= 1;
    }
  }

  async onModuleDestroy(): Promise<void> {
    this.closing.abort();
    await this.running;
  }

  private async page(cursor: bigint): Promise<EventPage> {
    if (cursor < this.base || this.head === 0n) return this.store.after(cursor);
    if (cursor >= this.head) return { events: [], last: cursor, isFull: false };
    const seen = this.kept.findLastIndex((event) => BigInt(event.cursor) <= cursor);
    return { events: this.kept.slice(seen + 1), last: this.head, isFull: false };
  }

  private async run(): Promise<void> {
    const { signal } = this.closing;
    this.kept = [];
    this.head = this.base = 0n;
    try {
      while (this.readers > 0 && !signal.aborted) {
        const before = this.head;
        const isMore = await this.ask();
        if (this.head > before) this.wake();
        if (!isMore) await sleep(ASK_MS, undefined, { signal }).catch(() => undefined);
      }
    } finally {
      this.running = undefined;
      this.wake();
    }
  }

  private async ask(): Promise<boolean> {
    try {
      if (this.head === 0n) {
        this.head = this.base = await this.store.head();
        return false;
      }
      const { events, last, isFull } = await this.store.after(this.head);
      this.kept.push(...events);
      this.head = last;
      const dropped = this.kept.splice(0, Math.max(0, this.kept.length - MOST_KEPT)).at(-1);
      if (dropped !== undefined) this.base = BigInt(dropped.cursor);
      return isFull;
    } catch (error) {
      this.log.warn({ err: error, msg: 'events cannot be read; it is tried again' });
      await sleep(AWAY_MS, undefined, { signal: this.closing.signal }).catch(() => undefined);
      return true;
    }
  }

  private news(signal: AbortSignal): Promise<void> {
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
    for (const done of [...this.waiting]) done();
  }
}
