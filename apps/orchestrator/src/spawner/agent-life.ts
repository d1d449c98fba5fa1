import type { Logger } from '@capstan/platform';
import type { LeaseWatch } from '../killswitch/lease-watch.js';
import type { Reaping } from '../killswitch/reaping.js';
import type { AgentId } from '@capstan/protocol';
import type { AgentLog } from '../monitor/agent-log.js';
import type { VitalsWatch } from '../monitor/vitals-watch.js';
import type { JobEnd } from '../queue/agent.worker.js';
import type { AgentStore, Claim } from '../valkey/agent.store.js';
import { failed, failureOf, withOutage, withRefusal, type AgentEnd } from './agent-end.js';
import type { AgentRun, AgentRuns } from './agent-run.js';
import { closeSockets } from './agent-sockets.js';
import type { Cleanup } from './cleanup.service.js';
import { HarvestStopped, type Harvester, type HarvestView } from './harvester.js';
import type { Launched } from './launcher.js';
import { failure, jobEnd, killedWhilePushing } from './settled-as.js';
import type { Settled, Settlement } from './settlement.js';
import type { Supervisor } from './supervisor.js';
import { timeLeft } from './time-left.js';
import { UsageRecorder } from './usage-recorder.js';

export interface LifeParts {
  runs: AgentRuns;
  store: AgentStore;
  supervisor: Supervisor;
  harvester: Harvester;
  settlement: Settlement;
  cleanup: Cleanup;
  reaping: Reaping;
  leases: LeaseWatch;
  vitals: VitalsWatch;
  logger: Logger;
}

/** What becomes of an agent that was given GO, whether this process started it or has adopted it. */
export class AgentLife {
  constructor(private readonly parts: LifeParts) {}

  /** A run whose intent to end kills the agent; undefined where it has one already. */
  open(agentId: AgentId): AgentRun | undefined {
    return this.parts.runs.open(agentId, (run) => this.kill(run));
  }

  /** Writes down what the agent's model costs. */
  recorder(run: AgentRun, { fence }: Claim): UsageRecorder {
    return new UsageRecorder((usage) => {
      run.progressed();
      return this.parts.store.change(run.agentId, { fence, patch: { usage } });
    });
  }

  /** From GO to the last thing that is cleaned up. */
  async finish(run: AgentRun, claim: Claim, launched: Launched, log: AgentLog): Promise<JobEnd> {
    const { settlement, cleanup } = this.parts;
    const settled = await this.run(run, claim, launched, log);
    await settlement.settle(run.agentId, { ...settled, fence: claim.fence });
    run.markSettled();
    await cleanup.finish(launched, settled.state !== 'completed', log);
    return jobEnd(settled);
  }

  /** From GO to the end that is to be written down. */
  private async run(run: AgentRun, claim: Claim, launched: Launched, log: AgentLog): Promise<Settled> {
    const { supervisor, reaping, leases, vitals, logger } = this.parts;
    const { agentId } = run;
    using _lease = leases.watch(run, launched.sandbox.handle, claim.plan.killAfterMs);
    for (const { sentence } of launched.warnings) log.append('system', sentence);
    run.progressed();
    using _vitals = vitals.watch(run, launched.sandbox.handle, log);
    const watch = async (): Promise<AgentEnd> =>
      supervisor.watch(run, launched.sandbox, log, timeLeft(claim, launched.sandbox));
    const watched = watch().catch(async (error: unknown) => {
      logger.error({ err: error, agentId, msg: 'the agent could not be watched' });
      await reaping.kill(agentId);
      return failed('internal');
    });
    try {
      const [ended] = await Promise.all([watched, this.tellRunning(run, claim, launched)]);
      // Whatever is being judged reads the work tree.
      await closeSockets(launched);
      const settled = await this.settledOf(run, claim, launched, ended, log);
      return { ...settled, patch: { ...settled.patch, usage: launched.gateway.usage() } };
    } finally {
      await closeSockets(launched);
    }
  }

  /** The limits of the agent hold whether or not Valkey answers; its end is written once Valkey knows that it has run. */
  private async tellRunning(run: AgentRun, { fence, agent }: Claim, { warnings }: Launched): Promise<void> {
    const { settlement, logger } = this.parts;
    if (agent.state === 'running') return;
    const { agentId } = run;
    try {
      const changed = await settlement.write(agentId, {
        fence,
        state: 'running',
        patch: { warnings: warnings.length === 0 ? null : warnings },
      });
      if (changed.kind !== 'changed') run.stop({ kind: 'killed' });
    } catch (error) {
      logger.error({ err: error, agentId, msg: 'the agent runs, and Valkey could not be told' });
    }
  }

  private async settledOf(
    run: AgentRun,
    claim: Claim,
    launched: Launched,
    end: AgentEnd,
    log: AgentLog,
  ): Promise<Settled> {
    if (end.kind === 'killed') return { state: 'killed' };
    if (end.kind === 'failed')
      return failure(withRefusal(withOutage(end, launched.gateway.outage()), launched.submits.refused), log);
    try {
      const harvest: HarvestView = await this.parts.harvester.take(run, claim.plan, launched, {
        ...launched.submits.stand,
        summary: end.summary,
      });
      return { state: 'completed', patch: { harvest } };
    } catch (error) {
      if (error instanceof HarvestStopped) {
        return killedWhilePushing(error, claim.agent.warnings ?? launched.warnings, log);
      }
      this.parts.logger.warn({ err: error, agentId: run.agentId, msg: 'the work was not taken in' });
      return failure(failureOf(error), log);
    }
  }

  private kill(run: AgentRun): void {
    const { reaping, logger } = this.parts;
    // Before GO there is nothing to kill: the start order looks at the intent at each step.
    if (!run.goGiven) return;
    reaping.kill(run.agentId).catch((error: unknown) => {
      logger.error({ err: error, agentId: run.agentId, msg: 'the agent was not killed' });
    });
  }
}
