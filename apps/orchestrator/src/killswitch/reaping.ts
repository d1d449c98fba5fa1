import { setTimeout as delay } from 'node:timers/promises';
import { LocalFault, type DeathReport, type Logger, type ReaperClient } from '@capstan/platform';
import type { AgentId, Description, KillOutcomeName } from '@capstan/protocol';
import { isStopped } from './kill-scope.js';

/** What the reaper says of an agent that is surely dead, or will surely never start. */
export type DeathOutcome = Exclude<KillOutcomeName, 'unconfirmed'>;

/** A death that the reaper has observed. */
export interface Death {
  outcome: DeathOutcome;
  /** Why the reaper killed by itself: `lease-expired`. */
  cause: string | undefined;
}

const OBSERVE_MS = 5_000;
const KILL_MS = 2_000;
const LONGEST_PAUSE_MS = 2_000;

/** Asks the reaper until it has an answer: a death is a fact or it is not reported. */
export class Reaping {
  constructor(
    private readonly reaper: ReaperClient,
    private readonly logger: Logger,
    private readonly signal: AbortSignal,
  ) {}

  /**
   * Resolves once the reaper has observed that nothing of the agent is left. Where that does not happen by itself, the
   * agent is killed: its launcher has ended, so that nobody needs what remains.
   *
   * @returns `finishedOff`: something was seen to remain, so that the death may be by this order alone
   */
  async untilGone(agentId: AgentId): Promise<Death & { finishedOff: boolean }> {
    let finishedOff = false;
    const death = await this.until(agentId, async () => {
      if (finishedOff) return this.killOnce(agentId);
      const seen = await this.reaper.observe(agentId, OBSERVE_MS);
      finishedOff = seen.outcome === 'unconfirmed';
      return seen;
    });
    return { ...death, finishedOff };
  }

  /** As `untilGone`, for an agent of which it is not known whether the reaper ever took it: then there is nothing to do. */
  async untilGoneIfRegistered(agentId: AgentId): Promise<void> {
    try {
      if ((await this.reaper.observe(agentId, OBSERVE_MS)).outcome !== 'unconfirmed') return;
    } catch (error) {
      if (error instanceof LocalFault && error.code === 'reaper-malformed') return;
    }
    await this.untilGone(agentId);
  }

  /** Kills, again and again until the death is observed. */
  async kill(agentId: AgentId): Promise<DeathOutcome> {
    return (await this.until(agentId, () => this.killOnce(agentId))).outcome;
  }

  /** Agents that the reaper holds and has not observed gone; asks until it answers. */
  async registered(): Promise<string[]> {
    return (await this.described()).agents.map(({ agentId }) => agentId);
  }

  /** Whether a kill-all means an agent that was admitted before it; asks until the reaper answers. */
  async isStopped(plan: Parameters<typeof isStopped>[0]): Promise<boolean> {
    return isStopped(plan, (await this.described()).killEpochs);
  }

  private async described(): Promise<Description> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.reaper.describe();
      } catch (error) {
        this.logger.error({ err: error, attempt, msg: 'the reaper does not say what it holds; it is asked again' });
      }
      await delay(pauseOf(attempt), undefined, { signal: this.signal });
    }
  }

  private killOnce(agentId: AgentId): Promise<DeathReport> {
    return this.reaper.kill({ agentId, timeoutMs: KILL_MS });
  }

  private async until(agentId: AgentId, ask: () => Promise<DeathReport>): Promise<Death> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const { outcome, cause } = await ask();
        if (outcome !== 'unconfirmed') return { outcome, cause };
        this.logger.error({ agentId, attempt, msg: 'the agent was not observed dead; it is killed again' });
      } catch (error) {
        this.logger.error({ err: error, agentId, attempt, msg: 'the reaper does not answer; it is asked again' });
      }
      await delay(pauseOf(attempt), undefined, { signal: this.signal });
    }
  }
}

function pauseOf(attempt: number): number {
  return Math.min(50 * 2 ** attempt, LONGEST_PAUSE_MS);
}
