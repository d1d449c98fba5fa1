import { Injectable } from '@nestjs/common';
import { AgentDirectory } from '../agents/agent.directory.js';
import { logPageView } from '../agents/log-page.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { Queries } from '../queries/queries.js';
import type { StreamedEvent } from '../streams/event-stream.js';
import { LogLease } from './log-lease.js';
import { type LogWatch, LogWatches } from './log-watches.js';

const TICK_MS = 250;
/** An agent that has ended and says nothing for so long is asked whether that was all. */
const QUIET_MS = 1_000;
const LAST_LINES = 500;

/** A log that is being followed. */
export interface Following extends AsyncDisposable {
  /** What the reader is told, in order; ends once the agent has ended and every line was told. */
  events(signal: AbortSignal): AsyncGenerator<StreamedEvent>;
}

/** Follows logs at their instances for readers here, over cuts of the link. */
@Injectable()
export class LogFollower {
  constructor(
    private readonly watches: LogWatches,
    private readonly agents: AgentDirectory,
    private readonly links: LinkRegistry,
    private readonly queries: Queries,
  ) {}

  /** Resolves once the instance tells the log. @throws WireFault as the questions of `Queries` */
  async follow(instance: string, agentId: string, after: number, by: string): Promise<Following> {
    const watch = this.watches.open(instance, agentId, after);
    const lease = new LogLease(watch, this.links, this.queries, by);
    try {
      await lease.begin();
    } catch (error) {
      this.watches.close(watch);
      throw error;
    }
    return {
      events: (signal) => this.events(watch, lease, by, signal),
      [Symbol.asyncDispose]: async () => {
        this.watches.close(watch);
        await lease.end();
      },
    };
  }

  private async *events(
    watch: LogWatch,
    lease: LogLease,
    by: string,
    signal: AbortSignal,
  ): AsyncGenerator<StreamedEvent> {
    let wasLive = true;
    let quietSince = performance.now();
    while (!signal.aborted) {
      const isTold = yield* told(watch);
      if (isTold) quietSince = performance.now();
      if (lease.refusal !== undefined) {
        yield { event: 'end', data: { code: lease.refusal.code } };
        return;
      }
      if (lease.isLive !== wasLive) {
        wasLive = lease.isLive;
        yield { event: wasLive ? 'back' : 'away', data: {} };
      }
      const isQuiet = wasLive && performance.now() - quietSince > QUIET_MS;
      if (isQuiet && this.hasEnded(watch.agentId)) {
        if (await this.isComplete(watch, by)) {
          yield { event: 'end', data: {} };
          return;
        }
        quietSince = performance.now();
      }
      lease.tend(performance.now());
      await watch.news(TICK_MS, signal);
    }
  }

  /** Whether the instance has no further line; one that does not answer may have. */
  private async isComplete(watch: LogWatch, by: string): Promise<boolean> {
    const { instance, agentId, feed } = watch;
    try {
      const page = await this.queries.logs(instance, agentId, BigInt(feed.last), LAST_LINES, by);
      if (logPageView(page).lines.length === 0) return true;
      feed.take(page);
      return false;
    } catch {
      return false;
    }
  }

  /** One that is not remembered has ended long ago. */
  private hasEnded(agentId: string): boolean {
    return this.agents.peek(agentId) === undefined || this.agents.hasEnded(agentId);
  }
}

/** Everything that waits; whether that was anything. */
async function* told({ feed }: LogWatch): AsyncGenerator<StreamedEvent, boolean> {
  let isAny = false;
  for (let news = feed.next(); news !== undefined; news = feed.next()) {
    isAny = true;
    const { lines, gap } = news;
    if (gap !== undefined) yield { id: String(gap.next - 1), event: 'gap', data: gap };
    yield { id: String(lines.at(-1)?.sequence ?? 0), event: 'lines', data: { lines } };
  }
  return isAny;
}
