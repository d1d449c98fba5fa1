import { Injectable } from '@nestjs/common';
import { type LogsAppended, newId, WireFault } from '@capstan/protocol';
import { RecentMap } from '../commands/recent-map.js';
import { LogFeed } from './log-feed.js';

/** Watches that have ended, whose last lines may still be on their way. */
const MOST_ENDED = 1_000;

/** One reader's interest in one agent's log. */
export class LogWatch {
  readonly id = newId();
  readonly feed: LogFeed;
  private wake: () => void = () => undefined;

  constructor(
    readonly instance: string,
    readonly agentId: string,
    after: number,
  ) {
    this.feed = new LogFeed(after);
  }

  /** @throws WireFault `payload-malformed` */
  take(page: NonNullable<LogsAppended['page']>): void {
    this.feed.take(page);
    this.wake();
  }

  /** Resolves once lines have come, `ms` have passed, or `signal` is aborted. */
  async news(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.feed.isEmpty || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.wake = resolve;
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    clearTimeout(timer);
  }
}

/** The logs that somebody reads now. An instance can tell lines only to whoever asked for them. */
@Injectable()
export class LogWatches {
  private readonly watches = new Map<string, LogWatch>();
  private readonly ended = new RecentMap<string, string>(MOST_ENDED);

  open(instance: string, agentId: string, after: number): LogWatch {
    const watch = new LogWatch(instance, agentId, after);
    this.watches.set(watch.id, watch);
    return watch;
  }

  close({ id, instance }: LogWatch): void {
    this.watches.delete(id);
    this.ended.set(id, instance);
  }

  /** Whether it was opened here. */
  knows(watchId: string): boolean {
    return this.watches.has(watchId) || this.ended.has(watchId);
  }

  /** @throws WireFault `not-found` where nobody asked, `wrong-issuer` where another instance was asked, `payload-malformed` */
  take(instance: string, { agentId, watchId, page }: LogsAppended): void {
    const watch = this.watches.get(watchId);
    const asked = watch?.instance ?? this.ended.get(watchId);
    if (asked === undefined) throw new WireFault('not-found', 'nobody watches');
    if (asked !== instance) throw new WireFault('wrong-issuer', `${asked} was asked`);
    if (watch === undefined) return;
    if (watch.agentId !== agentId) throw new WireFault('wrong-issuer', 'another agent was asked for');
    if (page === undefined) throw new WireFault('payload-malformed', 'no page');
    watch.take(page);
  }
}
