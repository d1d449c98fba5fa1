import { LocalFault, type Logger } from '@capstan/platform';
import { WireFault, type AgentId, type WarningView } from '@capstan/protocol';
import { SandboxFault } from '@capstan/sandbox';
import type { LeaseWatch } from '../killswitch/lease-watch.js';
import type { Reaping } from '../killswitch/reaping.js';
import type { AgentLog } from '../monitor/agent-log.js';
import type { Monitor } from '../monitor/monitor.service.js';
import type { VitalsWatch } from '../monitor/vitals-watch.js';
import type { JobEnd } from '../queue/agent.worker.js';
import { diskFault, PushFault } from '../git/index.js';
import type { SecretScanner } from '../secret-scan/index.js';
import type { AgentSecrets } from '../secrets/agent-secrets.js';
import type { AgentStore, Claim, Claimed } from '../valkey/agent.store.js';
import { failed, type AgentEnd } from './agent-end.js';
import type { AgentRun, AgentRuns } from './agent-run.js';
import type { Cleanup } from './cleanup.service.js';
import { CannotGoOn } from './cannot-go-on.js';
import type { FoundAgent } from './found-agent.js';
import { HarvestStopped, type Harvester, type HarvestView } from './harvester.js';
import type { SubmitRefusal } from './submit-desk.js';
import { WorkRefused } from './work-refused.js';
import { StartForbidden, type Launched, type Launcher } from './launcher.js';
import type { Settled, Settlement } from './settlement.js';
import type { Supervisor } from './supervisor.js';
import { timeLeft } from './time-left.js';
import { UsageRecorder } from './usage-recorder.js';

export interface SpawnerParts {
  runs: AgentRuns;
  store: AgentStore;
  launcher: Launcher;
  supervisor: Supervisor;
  harvester: Harvester;
  settlement: Settlement;
  cleanup: Cleanup;
  monitor: Monitor;
  reaping: Reaping;
  leases: LeaseWatch;
  vitals: VitalsWatch;
  secrets: AgentSecrets;
  scanner: SecretScanner;
  logger: Logger;
}

/** Takes one agent from the queue to its end. */
export class Spawner {
  /** Agents of a former life that go on; their jobs come back to the queue once their worker's silence is noticed. */
  private readonly adopted = new Map<AgentId, { ended: Promise<JobEnd>; hasJob: boolean }>();

  constructor(private readonly parts: SpawnerParts) {}

  /** Adopted agents whose job has not come back: each takes a place of the owner's limit that no job takes. */
  get jobless(): number {
    return [...this.adopted.values()].filter(({ hasJob }) => !hasJob).length;
  }

  /** Starts the agent if it is queued, and resolves when it has ended and was cleaned up. Never rejects by design. */
  async start(agentId: AgentId): Promise<JobEnd> {
    const adopted = this.adopted.get(agentId);
    if (adopted !== undefined) {
      adopted.hasJob = true;
      return adopted.ended;
    }
    const run = this.parts.runs.open(agentId, (it) => this.kill(it));
    if (run === undefined) return { kind: 'failed', code: 'running-already' };
    try {
      const claimed = await this.parts.store.claim(agentId);
      return claimed.kind === 'claimed' ? await this.work(run, claimed) : endOfUnclaimed(claimed);
    } finally {
      run.close();
    }
  }

  /**
   * Goes on with an agent that has outlived its orchestrator; resolves once it has its sockets again, and rejects where it
   * cannot have them: then nothing was changed.
   */
  async adopt(claim: Claim, found: FoundAgent): Promise<void> {
    const { runs, monitor, launcher, cleanup } = this.parts;
    const { agentId } = claim.plan;
    const run = runs.open(agentId, (it) => this.kill(it));
    if (run === undefined) throw new CannotGoOn('it runs here already');
    run.plan = claim.plan;
    run.goGiven = true;
    const end = async (): Promise<void> => {
      await monitor.end(agentId);
      this.adopted.delete(agentId);
      run.close();
    };
    try {
      const log = await monitor.begin(agentId);
      const launched = await launcher.adopt(run, claim, found, this.recorder(run, claim));
      log.append('system', 'The orchestrator was restarted; the agent goes on.');
      const ended = this.finish(run, claim, launched, log)
        // A harvest that its former orchestrator had begun.
        .finally(() => cleanup.endSandboxes(agentId).catch(() => undefined))
        .finally(end);
      ended.catch((error: unknown) => {
        this.parts.logger.error({ err: error, agentId, msg: 'an adopted agent did not end as it should' });
      });
      this.adopted.set(agentId, { ended, hasJob: false });
    } catch (error) {
      await end();
      throw error;
    }
  }

  private async work(run: AgentRun, claim: Claim): Promise<JobEnd> {
    const { monitor } = this.parts;
    run.plan = claim.plan;
    const log = await monitor.begin(run.agentId);
    try {
      const launched = await this.launch(run, claim, this.recorder(run, claim), log);
      return 'kind' in launched ? launched : await this.finish(run, claim, launched, log);
    } finally {
      await monitor.end(run.agentId);
    }
  }

  private recorder(run: AgentRun, { fence }: Claim): UsageRecorder {
    return new UsageRecorder((usage) => {
      run.progressed();
      return this.parts.store.change(run.agentId, { fence, patch: { usage } });
    });
  }

  /** From GO to the last thing that is cleaned up. */
  private async finish(run: AgentRun, claim: Claim, launched: Launched, log: AgentLog): Promise<JobEnd> {
    const { settlement, cleanup } = this.parts;
    const settled = await this.run(run, claim, launched, log);
    await settlement.settle(run.agentId, { ...settled, fence: claim.fence });
    run.markSettled();
    await cleanup.finish(launched, settled.state !== 'completed', log);
    return jobEnd(settled);
  }

  /** Up to GO; where that fails, what it means for the agent. */
  private async launch(run: AgentRun, claim: Claim, usage: UsageRecorder, log: AgentLog): Promise<Launched | JobEnd> {
    const { launcher, settlement, cleanup, secrets, scanner, logger } = this.parts;
    try {
      const isUnwanted = (): boolean => run.intent !== undefined;
      const given = await secrets.demand(run.agentId, claim.plan.secretNames ?? [], isUnwanted);
      log.hide(given);
      scanner.issue(run.agentId, given);
      const launched = await launcher.launch(run, claim, usage, given);
      secrets.forget(run.agentId);
      return launched;
    } catch (error) {
      const settled = endBeforeGo(run, claim, error);
      const { agentId } = run;
      logger.warn({
        err: error,
        agentId,
        attempt: claim.attempt,
        next: settled.state,
        msg: 'the agent was not started',
      });
      log.append('system', `Start ${String(claim.attempt)} failed: ${settled.patch?.error?.sentence ?? settled.state}`);
      await settlement.settle(agentId, { ...settled, fence: claim.fence });
      run.markSettled();
      await cleanup.finishUnstarted(run);
      return jobEnd(settled);
    }
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
      await launched.submits.close();
      await launched.gateway.close();
      const settled = await this.settledOf(run, claim, launched, ended, log);
      return { ...settled, patch: { ...settled.patch, usage: launched.gateway.usage() } };
    } finally {
      await launched.submits.close();
      await launched.gateway.close();
    }
  }

  /** The limits of the agent hold whether or not Valkey answers. */
  private async tellRunning(run: AgentRun, { fence, agent }: Claim, { warnings }: Launched): Promise<void> {
    const { store, logger } = this.parts;
    if (agent.state === 'running') return;
    const { agentId } = run;
    try {
      const changed = await store.change(agentId, {
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

function endOfUnclaimed(claimed: Exclude<Claimed, { kind: 'claimed' }>): JobEnd {
  if (claimed.kind === 'refused' && claimed.state === 'completed') return { kind: 'completed' };
  return { kind: 'failed', code: claimed.kind === 'refused' ? claimed.state : 'agent-unknown' };
}

/** What becomes of an agent whose start failed. Only before GO, and only with retries left, does it go back to the queue. */
function endBeforeGo(run: AgentRun, claim: Claim, error: unknown): Settled {
  if (error instanceof StartForbidden || run.intent?.kind === 'killed') return { state: 'killed' };
  if (run.intent?.kind === 'lost' && !run.goGiven) return { state: 'queued' };
  const end = failureOf(error);
  if (!run.goGiven && isRetryable(error) && claim.attempt <= claim.plan.maxRetries) return { state: 'queued' };
  return { state: 'failed', patch: { error: { code: end.code, sentence: end.sentence } } };
}

/** Ends that an agent comes to when its model is away; a program that is not ours has no word for it. */
const ENDS_OF_OUTAGES: readonly string[] = ['model-unavailable', 'agent-crashed', 'agent-no-submit'];

/** @param outage what the gateway saw of the last request. */
function withOutage(end: AgentEnd & { kind: 'failed' }, outage: string | undefined): AgentEnd & { kind: 'failed' } {
  if (outage === undefined || !ENDS_OF_OUTAGES.includes(end.code)) return end;
  const { code, sentence } = failed('model-unavailable');
  return { kind: 'failed', code, sentence: `${sentence.replace(/\.$/, '')}: ${outage}.` };
}

/** An agent that gave up after its work was sent back has failed for that reason. */
function withRefusal(end: AgentEnd & { kind: 'failed' }, refused: SubmitRefusal | undefined): typeof end {
  if (refused === undefined || !['agent-no-submit', 'agent-iterations'].includes(end.code)) return end;
  return { kind: 'failed', code: refused.code, sentence: refused.sentence };
}

/** What the repository or the owner says is final; what a machine says may pass. */
function isRetryable(error: unknown): boolean {
  return error instanceof WireFault ? error.retryable : true;
}

function failureOf(error: unknown): AgentEnd & { kind: 'failed' } {
  if (error instanceof WireFault) return failed(error.code);
  if (error instanceof WorkRefused) return { kind: 'failed', code: error.code, sentence: error.sentence };
  if (error instanceof PushFault) return { kind: 'failed', code: 'push-rejected', sentence: error.sentence };
  if (error instanceof SandboxFault) return failed('sandbox-failed');
  const local = error instanceof LocalFault ? error : diskFault(error);
  return local === undefined ? failed('internal') : { ...failed(local.code), sentence: local.sentence };
}

function failure({ code, sentence }: AgentEnd & { kind: 'failed' }, log: AgentLog): Settled {
  log.append('system', sentence);
  return { state: 'failed', patch: { error: { code, sentence } } };
}

/** Whether the source has the work, nobody can tell: what it may have is named. @param warnings that the agent has already */
function killedWhilePushing({ pushing }: HarvestStopped, warnings: readonly WarningView[], log: AgentLog): Settled {
  if (pushing === undefined) return { state: 'killed' };
  const { branch, commit } = pushing;
  const sentence = `It was killed while commit ${commit} was being pushed to ${branch}: look whether the source has it.`;
  log.append('system', sentence);
  return {
    state: 'killed',
    patch: { warnings: [...warnings, { code: 'push-unknown', sentence }] },
    detail: { branch, commit, pushed: 'unknown' },
  };
}

function jobEnd(settled: Settled): JobEnd {
  switch (settled.state) {
    case 'completed':
      return { kind: 'completed' };
    case 'queued':
      return { kind: 'retry', code: 'retry' };
    case 'failed':
      return { kind: 'failed', code: settled.patch?.error?.code ?? 'failed' };
    case 'killed':
      return { kind: 'failed', code: 'killed' };
  }
}
