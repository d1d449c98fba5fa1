import type { Logger } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import type { AgentLog } from '../monitor/agent-log.js';
import type { Monitor } from '../monitor/monitor.service.js';
import type { JobEnd } from '../queue/agent.worker.js';
import type { SecretScanner } from '../secret-scan/index.js';
import type { AgentSecrets } from '../secrets/agent-secrets.js';
import type { AgentStore, Claim, Claimed } from '../valkey/agent.store.js';
import type { AdoptedAgents } from './adopted-agents.js';
import type { AgentLife } from './agent-life.js';
import type { AgentRun } from './agent-run.js';
import type { Cleanup } from './cleanup.service.js';
import type { Launched, Launcher } from './launcher.js';
import { endBeforeGo, jobEnd, toldOfStart } from './settled-as.js';
import type { Settlement } from './settlement.js';
import type { UsageRecorder } from './usage-recorder.js';

export interface SpawnerParts {
  store: AgentStore;
  launcher: Launcher;
  life: AgentLife;
  adopted: Pick<AdoptedAgents, 'takeJob'>;
  settlement: Settlement;
  cleanup: Cleanup;
  monitor: Monitor;
  secrets: AgentSecrets;
  scanner: SecretScanner;
  logger: Logger;
}

/** Takes one agent from the queue to its end. */
export class Spawner {
  constructor(private readonly parts: SpawnerParts) {}

  /** Starts the agent if it is queued, and resolves when it has ended and was cleaned up. Never rejects by design. */
  async start(agentId: AgentId): Promise<JobEnd> {
    const adopted = this.parts.adopted.takeJob(agentId);
    if (adopted !== undefined) return adopted;
    const run = this.parts.life.open(agentId);
    if (run === undefined) return { kind: 'failed', code: 'running-already' };
    try {
      const claimed = await this.parts.store.claim(agentId);
      return claimed.kind === 'claimed' ? await this.work(run, claimed) : endOfUnclaimed(claimed);
    } finally {
      run.close();
    }
  }

  private async work(run: AgentRun, claim: Claim): Promise<JobEnd> {
    const { monitor, life } = this.parts;
    run.plan = claim.plan;
    const log = await monitor.begin(run.agentId);
    try {
      const launched = await this.launch(run, claim, life.recorder(run, claim), log);
      return 'kind' in launched ? launched : await life.finish(run, claim, launched, log);
    } finally {
      await monitor.end(run.agentId);
    }
  }

  /** Up to GO; where that fails, what it means for the agent. */
  private async launch(run: AgentRun, claim: Claim, usage: UsageRecorder, log: AgentLog): Promise<Launched | JobEnd> {
    const { launcher, settlement, cleanup, secrets, scanner, logger } = this.parts;
    try {
      const isUnwanted = (): boolean => run.intent !== undefined;
      const given = await secrets.demand(run.agentId, claim.plan.secretNames ?? [], isUnwanted);
      log.hide(given);
      scanner.issue(run.agentId, given);
      await cleanup.makeRoomFor(run.agentId);
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
      log.append('system', `Start ${String(claim.attempt)} failed: ${toldOfStart(settled, run, error)}`);
      await settlement.settle(agentId, { ...settled, fence: claim.fence });
      run.markSettled();
      await cleanup.finishUnstarted(run);
      return jobEnd(settled);
    }
  }
}

function endOfUnclaimed(claimed: Exclude<Claimed, { kind: 'claimed' }>): JobEnd {
  if (claimed.kind === 'refused' && claimed.state === 'completed') return { kind: 'completed' };
  return { kind: 'failed', code: claimed.kind === 'refused' ? claimed.state : 'agent-unknown' };
}
