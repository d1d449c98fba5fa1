import { setTimeout as delay } from 'node:timers/promises';
import { ModelOutage } from './model-outage.js';
import type { Price } from './prices.js';
import type { ModelCall, ModelProvider, ModelReply } from './provider.js';

/** Time and chance, which tests replace. */
export interface RetryClock {
  /** 0 to 1. */
  random(): number;
  /** Rejects once the signal is aborted. @param ms milliseconds */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

const CLOCK: RetryClock = {
  random: Math.random,
  wait: (ms, signal) => delay(ms, undefined, { signal }),
};

const MOST_ATTEMPTS = 6;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
/** All pauses of one request together; an upstream that asks for more is called away. */
const MOST_WAITING_MS = 60_000;
/** Agents that were told the same time shall not come back in the same millisecond. */
const SPREAD = 0.1;

/** Repeats what failed before the reply began: afterwards the agent has seen a part of it. */
export class RetryingProvider implements ModelProvider {
  readonly name: ModelProvider['name'];
  readonly defaultModel: string;

  constructor(
    private readonly inner: ModelProvider,
    private readonly clock: RetryClock = CLOCK,
  ) {
    this.name = inner.name;
    this.defaultModel = inner.defaultModel;
  }

  priceOf(model: string): Price | undefined {
    return this.inner.priceOf(model);
  }

  async call(call: ModelCall): Promise<ModelReply> {
    let waitedMs = 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return { ...(await this.inner.call(call)), attempts: attempt };
      } catch (error) {
        if (!(error instanceof ModelOutage)) throw error;
        const pauseMs = this.pauseAfter(attempt, error);
        const isOver = !error.facts.isPassing || attempt >= MOST_ATTEMPTS || waitedMs + pauseMs > MOST_WAITING_MS;
        if (isOver) throw error.after(attempt);
        // Whoever went away meanwhile has cost nothing.
        await this.clock.wait(pauseMs, call.signal).catch(() => Promise.reject(error.after(attempt)));
        waitedMs += pauseMs;
      }
    }
  }

  private pauseAfter(attempt: number, { facts }: ModelOutage): number {
    const { retryAfterMs } = facts;
    if (retryAfterMs !== undefined) return retryAfterMs * (1 + SPREAD * this.clock.random());
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
    return (longest * (1 + this.clock.random())) / 2;
  }
}
