import { setTimeout as delay } from 'node:timers/promises';
import type { Logger, ReaperClient } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import type { KillHandle, SandboxDrivers } from '@capstan/sandbox';
import { isStopped } from '../killswitch/kill-scope.js';
import type { AgentStore } from '../valkey/agent.store.js';
import { CannotGoOn } from './cannot-go-on.js';
import type { Sessions } from './session.js';
import type { AdoptedAgents } from './adopted-agents.js';

/** For so long is tried again what a fault has kept from being done: Docker, say, may be starting too. */
const PATIENCE_MS = 30_000;
const PAUSE_MS = 500;

export interface AdoptionParts {
  store: AgentStore;
  sessions: Pick<Sessions, 'recall'>;
  reaper: ReaperClient;
  driver: Pick<SandboxDrivers, 'adopt'>;
  adopted: Pick<AdoptedAgents, 'adopt'>;
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
  constructor(
    private readonly parts: AdoptionParts,
    private readonly patienceMs = PATIENCE_MS,
  ) {}

  /** Whether the agent goes on, under this process; a fault is no answer before it has lasted. Never rejects. */
  async attempt(agentId: AgentId): Promise<boolean> {
    const { logger } = this.parts;
    const untilMs = performance.now() + this.patienceMs;
    for (;;) {
      try {
        const why = await this.adopt(agentId);
        if (why === undefined) logger.warn({ agentId, msg: 'the agent has outlived its orchestrator, and goes on' });
        else logger.warn({ agentId, why, msg: 'the agent is not taken over' });
        return why === undefined;
      } catch (error) {
        const isLast = error instanceof CannotGoOn || performance.now() >= untilMs;
        logger.error({ err: error, agentId, isLast, msg: 'the agent could not be adopted' });
        if (isLast) return false;
        await delay(PAUSE_MS);
      }
    }
  }

  /** @returns why it cannot go on; undefined where it does. */
  private async adopt(agentId: AgentId): Promise<string | undefined> {
    const { store, sessions, reaper, driver, adopted } = this.parts;
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
    let isAdopted = false;
    try {
      // From here on whoever still holds an older claim can write nothing.
      const claim = await store.adopt(agentId);
      if (claim === undefined) return 'it has ended meanwhile';
      await adopted.adopt(claim, { record, sandbox });
      isAdopted = true;
      return undefined;
    } finally {
      if (!isAdopted) sandbox.release();
    }
  }
}
