import type { Logger, ReaperClient } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import type { KillHandle, SandboxDrivers } from '@capstan/sandbox';
import { isStopped } from '../killswitch/kill-scope.js';
import type { AgentStore } from '../valkey/agent.store.js';
import type { Sessions } from './session.js';
import type { Spawner } from './spawner.service.js';

export interface AdoptionParts {
  store: AgentStore;
  sessions: Pick<Sessions, 'recall'>;
  reaper: ReaperClient;
  driver: Pick<SandboxDrivers, 'adopt'>;
  spawner: Pick<Spawner, 'adopt'>;
  logger: Logger;
}

/**
 * Agents that outlived their orchestrator, which only Docker's do: they get their sockets again in the directory that they
 * still see, and are watched as before. Whoever is not adopted is ended and reported lost, with his work saved:
 *
 * - in bubblewrap: it dies with the process that launched it;
 * - not yet `running` when the orchestrator died: nobody can tell whether GO was given whole;
 * - with sealed secrets: they were in memory alone, and his work could not be searched for them any more;
 * - whom the reaper does not hold as living, or whom a kill-all means;
 * - whose notes, work tree or container cannot be found.
 */
export class Adoption {
  constructor(private readonly parts: AdoptionParts) {}

  /** Whether the agent goes on, under this process. Never rejects. */
  async attempt(agentId: AgentId): Promise<boolean> {
    const { logger } = this.parts;
    try {
      const why = await this.adopt(agentId);
      if (why === undefined) logger.warn({ agentId, msg: 'the agent has outlived its orchestrator, and goes on' });
      else logger.warn({ agentId, why, msg: 'the agent is not taken over' });
      return why === undefined;
    } catch (error) {
      logger.error({ err: error, agentId, msg: 'the agent could not be adopted' });
      return false;
    }
  }

  /** @returns why it cannot go on; undefined where it does. */
  private async adopt(agentId: AgentId): Promise<string | undefined> {
    const { store, sessions, reaper, driver, spawner } = this.parts;
    const [agent, plan] = [await store.find(agentId), await store.findPlan(agentId)];
    if (agent?.state !== 'running' || plan === undefined) return 'it was being started';
    if ((plan.secretNames ?? []).length > 0) return 'its secrets are lost';
    const record = await sessions.recall(agentId);
    if (record?.worktree === undefined || record.targetRef === undefined) return 'nothing was noted of it';
    const { killEpochs, agents } = await reaper.describe();
    if (isStopped(plan, killEpochs)) return 'it was stopped';
    const registered = agents.find((it) => it.agentId === agentId && it.end === undefined);
    if (registered?.handle === undefined) return 'the reaper does not hold it';
    const sandbox = await driver.adopt(agentId, registered.handle as KillHandle);
    if (sandbox === undefined) return 'its sandbox is gone, or went with its launcher';
    try {
      // From here on whoever still holds an older claim can write nothing.
      const claim = await store.adopt(agentId);
      if (claim === undefined) return 'it has ended meanwhile';
      await spawner.adopt(claim, { record, sandbox });
      return undefined;
    } catch (error) {
      for (const output of [sandbox.stdout, sandbox.stderr]) output.destroy();
      throw error;
    }
  }
}
