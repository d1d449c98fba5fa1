import type { Logger } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import type { RepositoryStore } from '../git/index.js';
import type { Monitor } from '../monitor/monitor.service.js';
import type { JobEnd } from '../queue/agent.worker.js';
import type { Claim } from '../valkey/agent.store.js';
import type { AgentLife } from './agent-life.js';
import type { AgentRun } from './agent-run.js';
import type { AgentSockets } from './agent-sockets.js';
import { CannotGoOn } from './cannot-go-on.js';
import type { Cleanup } from './cleanup.service.js';
import type { FoundAgent } from './found-agent.js';
import type { Launched } from './launcher.js';
import type { Sessions } from './session.js';
import type { SessionRecord } from './session-record.js';
import type { SpawnPlan } from './spawn-plan.js';
import type { WorkPlace } from './work-place.js';

export interface AdoptedParts {
  life: AgentLife;
  sessions: Pick<Sessions, 'reopen'>;
  repositories: Pick<RepositoryStore, 'recall'>;
  sockets: AgentSockets;
  cleanup: Pick<Cleanup, 'endSandboxes'>;
  monitor: Pick<Monitor, 'begin' | 'end'>;
  logger: Logger;
}

/** Agents of a former life that go on; their jobs come back to the queue once their worker's silence is noticed. */
export class AdoptedAgents {
  /** Called where one fewer may be jobless. */
  onFewerJobless: () => void = () => undefined;
  private readonly agents = new Map<AgentId, { ended: Promise<JobEnd>; hasJob: boolean }>();

  constructor(private readonly parts: AdoptedParts) {}

  /** Those whose job has not come back: each takes a place of the owner's limit that no job takes. */
  get jobless(): number {
    return [...this.agents.values()].filter(({ hasJob }) => !hasJob).length;
  }

  /** The job of an agent has come back: how that agent ends; undefined where it was not adopted, or has ended. */
  takeJob(agentId: AgentId): Promise<JobEnd> | undefined {
    const adopted = this.agents.get(agentId);
    if (adopted === undefined) return undefined;
    adopted.hasJob = true;
    this.onFewerJobless();
    return adopted.ended;
  }

  /**
   * Goes on with an agent that has outlived its orchestrator; resolves once it has its sockets again, and rejects where it
   * cannot have them: then nothing was changed.
   *
   * @throws CannotGoOn where something of it is gone. @throws Error where it cannot be had now
   */
  async adopt(claim: Claim, found: FoundAgent): Promise<void> {
    const { life, monitor, cleanup, logger } = this.parts;
    const { agentId } = claim.plan;
    const run = life.open(agentId);
    if (run === undefined) throw new CannotGoOn('it runs here already');
    run.plan = claim.plan;
    run.goGiven = true;
    const end = async (): Promise<void> => {
      try {
        await monitor.end(agentId);
      } finally {
        this.agents.delete(agentId);
        run.close();
        this.onFewerJobless();
      }
    };
    try {
      const log = await monitor.begin(agentId);
      const launched = await this.reconnect(run, claim, found);
      log.append('system', 'The orchestrator was restarted; the agent goes on.');
      const ended = life
        .finish(run, claim, launched, log)
        // A harvest that its former orchestrator had begun.
        .finally(() => cleanup.endSandboxes(agentId).catch(() => undefined))
        .finally(end);
      ended.catch((error: unknown) => {
        logger.error({ err: error, agentId, msg: 'an adopted agent did not end as it should' });
      });
      this.agents.set(agentId, { ended, hasJob: false });
    } catch (error) {
      await end();
      throw error;
    }
  }

  /**
   * Gives it its sockets again, at the paths that it knows. What the last request cost may be missing in its own budget; a
   * submission that was being judged is to be made again.
   */
  private async reconnect(run: AgentRun, claim: Claim, { record, sandbox }: FoundAgent): Promise<Launched> {
    const { life, sockets } = this.parts;
    const { plan, agent } = claim;
    const place = await this.placeOf(plan, record);
    const { stand, submissions, refused, program } = record;
    const before = { usage: agent.usage, ...(stand && { stand }), ...(submissions && { submissions }), refused };
    const { inbox, ...open } = await sockets.open(run, {
      plan,
      place,
      program,
      usage: life.recorder(run, claim),
      before,
    });
    run.inbox = inbox;
    return { ...place, ...open, sandbox, warnings: [] };
  }

  private async placeOf({ tenant, repository: name }: SpawnPlan, record: SessionRecord): Promise<WorkPlace> {
    const { sessions, repositories } = this.parts;
    const { worktree, targetRef, earlierTrees = {}, trialBytes = 0 } = record;
    const session = sessions.reopen(record);
    const repository = await repositories.recall(tenant, name);
    if (repository === undefined || worktree === undefined || targetRef === undefined)
      throw new CannotGoOn('its repository is gone');
    return {
      session,
      repository,
      worktree: repository.recallWorktree(worktree),
      targetRef,
      earlierTrees: new Map(Object.entries(earlierTrees)),
      trialBytes,
    };
  }
}
