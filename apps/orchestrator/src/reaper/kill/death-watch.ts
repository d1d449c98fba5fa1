import { setTimeout as delay } from 'node:timers/promises';
import type { KillHandle } from '@capstan/sandbox';
import type { World } from './world.js';

const FIRST_LOOK_MS = 1;
const SLOWEST_LOOK_MS = 250;
const FIRST_SIGNAL_AGAIN_MS = 100;
const SLOWEST_SIGNAL_MS = 5000;

/** What was seen when the last of an agent was gone. Times are wall clock, milliseconds. */
export interface Sight {
  /** Whether a signal was sent before that. */
  signalled: boolean;
  signalledAtMs: number;
  observedAtMs: number;
  membersBefore: number;
}

/**
 * Watches one agent until nothing of it is left, and kills it from the moment it is told to. It does not give up.
 */
export class DeathWatch {
  /** Resolves when the agent was observed gone; rejects only when `stop` was called before. */
  readonly gone: Promise<Sight>;
  private readonly stopped = new AbortController();
  private nudge = new AbortController();
  private killing = false;
  private sight: Omit<Sight, 'observedAtMs'> = { signalled: false, signalledAtMs: 0, membersBefore: 0 };

  constructor(
    private readonly handle: KillHandle,
    private readonly world: World,
    private readonly report: (error: unknown) => void,
  ) {
    this.gone = this.watch();
    this.gone.catch(() => undefined);
  }

  /** From now on the agent is killed, not only watched. */
  kill(): void {
    this.killing = true;
    this.wake();
  }

  stop(): void {
    this.stopped.abort();
    this.wake();
  }

  private async watch(): Promise<Sight> {
    let look = FIRST_LOOK_MS;
    let again = FIRST_SIGNAL_AGAIN_MS;
    let nextSignal = 0;
    for (;;) {
      this.stopped.signal.throwIfAborted();
      if (this.look()) return { ...this.sight, observedAtMs: Date.now() };
      if (this.killing && performance.now() >= nextSignal) {
        await this.signal();
        if (nextSignal !== 0) again = Math.min(again * 2, SLOWEST_SIGNAL_MS);
        nextSignal = performance.now() + again;
        look = FIRST_LOOK_MS;
      }
      await this.pause(look);
      look = Math.min(look * 1.5, SLOWEST_LOOK_MS);
    }
  }

  /** An error is no observation: the agent counts as living until it was seen gone. */
  private look(): boolean {
    try {
      return this.world.isGone(this.handle);
    } catch (error) {
      this.report(error);
      return false;
    }
  }

  private async signal(): Promise<void> {
    try {
      if (!this.sight.signalled) this.sight.membersBefore = this.world.countMembers(this.handle);
      await this.world.signal(this.handle);
    } catch (error) {
      this.report(error);
    }
    this.sight = { ...this.sight, signalled: true, signalledAtMs: Date.now() };
  }

  private wake(): void {
    const sleeper = this.nudge;
    this.nudge = new AbortController();
    sleeper.abort();
  }

  /** Sleeps until it is time to look again or the kill is ordered. */
  private async pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.nudge.signal }).catch(() => undefined);
  }
}
