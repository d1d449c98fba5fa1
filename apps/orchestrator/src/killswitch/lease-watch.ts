import type { Logger, ReaperClient } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { bootTimeMs, signalHandle, type KillHandle } from '@capstan/sandbox';
import type { AgentRun } from '../spawner/agent-run.js';

const LOOK_MS = 1_000;
/** After the moment at which the reaper acts: it acts first where it can, and says why. */
const SLACK_MS = 1_000;

interface Watched {
  run: AgentRun;
  handle: KillHandle;
  /** As far as is known, by each clock; milliseconds. */
  untilWallMs: number;
  untilBootMs: number;
  /** It is past its lease, and that was said. */
  isOver: boolean;
  /** It could not be signalled, and that was said. */
  isUnsignalled: boolean;
}

/**
 * The second look at leases, for when the reaper hangs: what it said last of each agent's lease holds on both clocks,
 * and an agent that is past it is killed from here.
 *
 * The reaper alone verifies renewals; one that cannot be asked for as long as a lease lasts ends its agents.
 */
export class LeaseWatch {
  private readonly watched = new Map<AgentId, Watched>();
  private timer: NodeJS.Timeout | undefined;
  private isLooking = false;

  constructor(
    private readonly reaper: Pick<ReaperClient, 'describe'>,
    private readonly logger: Logger,
    private readonly bootMs: () => number = bootTimeMs,
  ) {}

  /** Watches an agent from its registration until this is disposed. @param killAfterMs 0 for one that has no lease. */
  watch(run: AgentRun, handle: KillHandle, killAfterMs: number): Disposable {
    if (killAfterMs === 0) return { [Symbol.dispose]: () => undefined };
    const { agentId } = run;
    this.watched.set(agentId, {
      run,
      handle,
      ...this.until(Date.now() + killAfterMs),
      isOver: false,
      isUnsignalled: false,
    });
    this.timer ??= setInterval(() => void this.look(), LOOK_MS);
    return { [Symbol.dispose]: () => this.forget(agentId) };
  }

  /** Asks first: a stop of this process alone must not end an agent whose lease was renewed meanwhile. Never rejects. */
  private async look(): Promise<void> {
    if (this.isLooking) return;
    this.isLooking = true;
    try {
      await this.ask();
      for (const watched of this.watched.values()) {
        const { untilWallMs, untilBootMs } = watched;
        if (Date.now() >= untilWallMs || this.bootMs() >= untilBootMs) this.end(watched);
      }
    } catch (error) {
      this.logger.error({ err: error, msg: 'leases cannot be looked at' });
    } finally {
      this.isLooking = false;
    }
  }

  /** Learns what the reaper holds of the leases now. Never rejects. */
  private async ask(): Promise<void> {
    try {
      const { agents } = await this.reaper.describe();
      for (const { agentId, leaseUntilMs } of agents) {
        const known = this.watched.get(agentId as AgentId);
        if (known !== undefined && leaseUntilMs !== 0n) Object.assign(known, this.until(Number(leaseUntilMs)));
      }
    } catch (error) {
      this.logger.warn({ err: error, msg: 'the reaper does not say how long leases last' });
    }
  }

  private until(wallMs: number): Pick<Watched, 'untilWallMs' | 'untilBootMs'> {
    const leftMs = wallMs - Date.now() + SLACK_MS;
    return { untilWallMs: wallMs + SLACK_MS, untilBootMs: this.bootMs() + leftMs };
  }

  private end(watched: Watched): void {
    const { run, handle } = watched;
    const { agentId } = run;
    if (!watched.isOver) {
      watched.isOver = true;
      this.logger.warn({ agentId, msg: 'the lease of the agent has ended' });
      run.stop({ kind: 'limit', code: 'lease-expired' });
    }
    // Besides the reaper: that it hangs is the case for which this is here. What fails is tried again at the next look.
    signalHandle(handle).then(
      () => this.forget(agentId),
      (error: unknown) => {
        // Said once, however often it is tried.
        if (!watched.isUnsignalled)
          this.logger.error({ err: error, agentId, msg: 'an agent without a lease was not signalled' });
        watched.isUnsignalled = true;
      },
    );
  }

  private forget(agentId: AgentId): void {
    this.watched.delete(agentId);
    if (this.watched.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
