import type { Redis } from 'ioredis';
import { CHANNELS, KEYS } from './keys.js';

/** One entry of the stream: a changed agent as JSON, or the notice that an agent was cleaned up. */
export interface AgentEvent {
  /** Cursor: pass it as `after` to go on behind this event. */
  id: string;
  kind: 'agent' | 'cleaned';
  /** JSON of an AgentView, or of {agentId, cleanedAt}. */
  json: string;
}

/** Some changes before the first one that is kept were dropped: whoever reads must list the agents anew. */
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
    await this.subscriber.subscribe(CHANNELS.agents, CHANNELS.cleaned);
  }

  /** Ends by itself only when `signal` is aborted. */
  async *read(after: string, signal: AbortSignal): AsyncGenerator<AgentEvent | EventGap> {
    let cursor = after;
    if (await this.isCutBefore(cursor)) yield { kind: 'gap' };
    while (!signal.aborted) {
      const seen = this.news;
      const entries = await this.client.xrange(KEYS.events, `(${cursor}`, '+', 'COUNT', PAGE);
      for (const [id, fields] of entries) {
        cursor = id;
        const [kind, json] = fields;
        if ((kind === 'agent' || kind === 'cleaned') && json !== undefined) yield { id, kind, json };
      }
      // What came while it was read has raised the count: nothing slips between reading and waiting.
      if (entries.length === 0 && seen === this.news) await this.untilNews(signal);
    }
  }

  /** Whether entries behind the cursor were trimmed; also true right behind the last trimmed one, which harms nobody. */
  private async isCutBefore(cursor: string): Promise<boolean> {
    // Rejects where there is no stream yet.
    const info = (await this.client.xinfo('STREAM', KEYS.events).catch(() => [])) as unknown[];
    const field = (name: string): unknown => info[info.indexOf(name) + 1];
    if (info.length === 0 || Number(field('entries-added')) === Number(field('length'))) return false;
    const first = field('first-entry');
    return Array.isArray(first) && isAfter(String(first[0]), cursor);
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

function isAfter(a: string, b: string): boolean {
  const [aMs = 0n, aSeq = 0n] = a.split('-').map(BigInt);
  const [bMs = 0n, bSeq = 0n] = b.split('-').map(BigInt);
  return aMs > bMs || (aMs === bMs && aSeq > bSeq);
}
