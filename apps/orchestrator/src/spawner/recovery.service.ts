import type { DeathReport, Logger, ReaperClient } from '@capstan/platform';
import { faultSentence, isTerminal, type AgentId } from '@capstan/protocol';
import type { Reaping } from '../killswitch/reaping.js';
import { withinTime } from '../killswitch/within-time.js';
import type { AgentStore } from '../valkey/agent.store.js';
import type { Adoption } from './adoption.service.js';
import type { AgentRuns } from './agent-run.js';
import type { Cleanup } from './cleanup.service.js';
import type { Orphans } from './orphans.js';
import { pushLeft } from './push-left.js';
import type { Sessions } from './session.js';
import type { Settlement } from './settlement.js';
import { Turns } from './turns.js';

const OBSERVE_MS = 2_000;
/** As long is one lost agent waited for; its end goes on. */
const END_MS = 30_000;
/** Between tries to clean up after an agent whose repository, say, is away. */
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 600_000;
/** So many agents are tidied at once. */
const LANES = 2;

export interface RecoveryParts {
  runs: AgentRuns;
  store: AgentStore;
  sessions: Pick<Sessions, 'recall'>;
  reaper: ReaperClient;
  reaping: Reaping;
  settlement: Settlement;
  cleanup: Cleanup;
  orphans: Orphans;
  adoption: Pick<Adoption, 'attempt'>;
  logger: Logger;
  /** Aborted when the orchestrator stops: the next start tidies what is left. */
  signal: AbortSignal;
}

/** Agents that lost their orchestrator: adopted, or observed gone, reported, cleaned up; never silently dropped. */
export class Recovery {
  private suspects: readonly AgentId[] = [];
  private readonly ending = new Set<AgentId>();
  private readonly tidying = new Map<AgentId, Promise<void>>();
  private readonly lanes = new Turns(LANES);
  private readonly postponed = new Map<AgentId, { pauseMs: number; untilMs: number }>();

  constructor(private readonly parts: RecoveryParts) {}

  /** Before any agent is started by this process: whatever starts or runs is adopted, or is lost and ends now. */
  async recoverAtStart(): Promise<void> {
    const { orphans, adoption } = this.parts;
    await orphans.removeHeld();
    await Promise.all(
      (await this.findLost()).map(async (agentId) => {
        if (!(await adoption.attempt(agentId))) await this.endInTime(agentId);
      }),
    );
    await orphans.end();
    await orphans.removeRest();
    // Each would wait for a driver that does not answer.
    if (!orphans.isIncomplete) await this.beginToTidy();
  }

  /** Resolves once nothing is tidied any more, which is soon after `signal`. */
  async idle(): Promise<void> {
    await Promise.all(this.tidying.values());
  }

  /** Later: what looks lost twice in a row is lost. Once may be a run that ended between two looks. */
  async recover(): Promise<void> {
    const lost = await this.findLost();
    const before = this.suspects;
    this.suspects = lost;
    for (const agentId of lost)
      if (before.includes(agentId) && !this.ending.has(agentId)) await this.endInTime(agentId);
    await this.parts.orphans.followUp((agentId) => this.isBusy(agentId));
    await this.beginToTidy();
  }

  /** Agents that should be starting or running and have no run in this process. */
  private async findLost(): Promise<AgentId[]> {
    const { store, runs } = this.parts;
    const lost: AgentId[] = [];
    for (const agentId of await store.startedAgents()) {
      if (runs.get(agentId) === undefined) lost.push(agentId);
    }
    return lost;
  }

  /** Goes on until the agent is gone; a process that cannot be killed holds up nobody else. */
  private async endInTime(agentId: AgentId): Promise<void> {
    this.ending.add(agentId);
    const ended = this.end(agentId)
      .catch((error: unknown) => {
        this.parts.logger.error({ err: error, agentId, msg: 'the lost agent is not ended yet' });
      })
      .finally(() => this.ending.delete(agentId));
    await withinTime(END_MS, ended, undefined);
  }

  private async end(agentId: AgentId): Promise<void> {
    const { store, reaping, settlement, logger } = this.parts;
    const agent = await store.find(agentId);
    if (agent === undefined || isTerminal(agent.state)) return;
    const { outcome: seen, cause } = await this.observe(agentId);
    // Not gone, or never registered: then it is killed, or a tombstone makes sure that it never starts.
    if (seen === 'unconfirmed') await reaping.kill(agentId);
    const hasLapsed = cause === 'lease-expired';
    const wasOrdered = (seen === 'killed' && !hasLapsed) || seen === 'tombstoned';
    logger.warn({ agentId, state: agent.state, seen, msg: 'the agent lost its orchestrator' });
    const code = hasLapsed ? 'lease-expired' : 'orchestrator-lost';
    const error = { code, sentence: faultSentence(code) };
    const told = await pushLeft(this.parts, agentId);
    await settlement.settle(
      agentId,
      wasOrdered ? { state: 'killed', ...told } : { state: 'failed', ...told, patch: { ...told.patch, error } },
    );
  }

  private async observe(agentId: AgentId): Promise<Pick<DeathReport, 'outcome' | 'cause'>> {
    try {
      return await this.parts.reaper.observe(agentId, OBSERVE_MS);
    } catch {
      return { outcome: 'unconfirmed' };
    }
  }

  /**
   * In the background: what an agent left may take as long as its owner likes, and neither start nor sweep is to wait for it. Others
   * wait for a lane: for a fetch of the same repository, say, no longer than that may take.
   */
  private async beginToTidy(): Promise<void> {
    for (const agentId of await this.parts.store.untidy()) {
      const isPostponed = (this.postponed.get(agentId)?.untilMs ?? 0) > performance.now();
      if (isPostponed || this.isBusy(agentId) || this.parts.orphans.isStuck(agentId)) continue;
      const tidied = this.lanes
        .run(() => this.tidy(agentId), this.parts.signal)
        .catch((error: unknown) => {
          if (!this.parts.signal.aborted) this.parts.logger.error({ err: error, agentId, msg: 'not cleaned up yet' });
        })
        .finally(() => this.tidying.delete(agentId));
      this.tidying.set(agentId, tidied);
    }
  }

  /** Whether a run of it cleans up after itself, or it is being tidied. */
  private isBusy(agentId: AgentId): boolean {
    return this.parts.runs.get(agentId) !== undefined || this.tidying.has(agentId);
  }

  private async tidy(agentId: AgentId): Promise<void> {
    const { runs, store, cleanup, logger, signal } = this.parts;
    const agent = await store.find(agentId);
    // It may have waited for long.
    if (runs.get(agentId) !== undefined || (agent !== undefined && !isTerminal(agent.state))) return;
    try {
      await cleanup.finishLeft(agentId);
      this.postponed.delete(agentId);
    } catch (error) {
      if (signal.aborted) return;
      const pauseMs = Math.min((this.postponed.get(agentId)?.pauseMs ?? FIRST_PAUSE_MS) * 2, LONGEST_PAUSE_MS);
      this.postponed.set(agentId, { pauseMs, untilMs: performance.now() + pauseMs });
      logger.error({ err: error, agentId, msg: 'not cleaned up yet' });
    }
  }
}
