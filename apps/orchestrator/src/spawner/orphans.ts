import type { AuditLog } from '@capstan/evidence';
import type { Logger } from '@capstan/platform';
import { isId, isTerminal, type AgentId } from '@capstan/protocol';
import type { SandboxDrivers } from '@capstan/sandbox';
import { pruneWorktrees, removeHeld, removeLocks } from '../git/index.js';
import type { Reaping } from '../killswitch/reaping.js';
import { withinTime } from '../killswitch/within-time.js';
import type { AgentStore } from '../valkey/agent.store.js';
import type { AgentRuns } from './agent-run.js';
import type { Sessions } from './session.js';

/** A process that waits for a dead disk, say, cannot be killed: nobody else waits longer for it. */
const END_MS = 30_000;

export interface OrphanParts {
  runs: AgentRuns;
  reaping: Reaping;
  sessions: Sessions;
  driver: SandboxDrivers;
  store: AgentStore;
  audit: AuditLog;
  /** Of the bare repositories. */
  repositories: string;
  logger: Logger;
}

/**
 * What a former life of this orchestrator left, whether or not Valkey remembers it: agents in the reaper's register,
 * sandboxes of the drivers, directories with their sockets and work trees, git's memory of them.
 *
 * At the start of the process nothing of its own runs yet, so that whatever is there and was not adopted is nobody's. What does
 * not end then, and drivers that do not answer, hold nothing up: they are followed up.
 */
export class Orphans {
  private readonly stuck = new Set<AgentId>();
  private isUnheard = false;

  constructor(private readonly parts: OrphanParts) {}

  /** Whether something of a former life may live yet. */
  get isIncomplete(): boolean {
    return this.isUnheard || this.stuck.size > 0;
  }

  /** Whether a process of the agent may live yet, so that what it works on is not to be touched. */
  isStuck(agentId: AgentId): boolean {
    return this.stuck.has(agentId);
  }

  /** Ends what was left, and hands what is on disk to the clean-up; resolves, whatever does not die in time. */
  async end(): Promise<void> {
    const { reaping, sessions, logger } = this.parts;
    const records = await sessions.recallAll();
    // No new agent gets the id of one that may live yet.
    sessions.reserve(records);
    const found = [...(await reaping.registered()), ...(await this.ask()), ...records.map(({ agentId }) => agentId)];
    await Promise.all(
      [...new Set(found)]
        .filter((id): id is AgentId => isId(id))
        .filter((id) => this.parts.runs.get(id) === undefined)
        .map(async (agentId) => {
          this.stuck.add(agentId);
          const ending = this.endOne(agentId);
          ending.catch((error: unknown) => {
            logger.error({ err: error, agentId, msg: 'what a former life has left of this agent is not ended' });
          });
          await withinTime(END_MS, ending, undefined);
          if (this.stuck.has(agentId)) logger.error({ agentId, msg: 'a process of a former life does not die' });
        }),
    );
  }

  /**
   * Later: the drivers that did not answer. Only agents that can never start again are nobody's now.
   *
   * @param isBusy whether somebody cleans up after the agent already: the sandbox may be the one that saves its work
   */
  async followUp(isBusy: (agentId: AgentId) => boolean): Promise<void> {
    if (!this.isUnheard) return;
    const { store } = this.parts;
    for (const agentId of (await this.ask()).filter((id): id is AgentId => isId(id))) {
      const agent = await store.find(agentId);
      if (isBusy(agentId) || (agent !== undefined && !isTerminal(agent.state))) continue;
      await this.removeSandboxes(agentId);
      await store.markUntidy(agentId);
    }
  }

  /** Before any agent is adopted, because that one may submit at once: what was held for one moment. Never rejects. */
  async removeHeld(): Promise<void> {
    const { repositories, logger } = this.parts;
    await removeHeld(repositories).catch((error: unknown) => {
      logger.error({ err: error, msg: 'what harvests of a former life held is not removed; the next start does it' });
    });
    const locks = await removeLocks(repositories).catch((error: unknown) => {
      logger.error({ err: error, msg: 'locks of a git that was killed are not removed; the next start does it' });
      return [];
    });
    if (locks.length > 0) logger.warn({ locks, msg: 'a git that was killed had left its locks; they are removed' });
  }

  /** What nobody could name any more; before any clean-up, which removes such directories beside it. */
  async removeRest(): Promise<void> {
    const { sessions, repositories, logger } = this.parts;
    const unknown = await sessions.removeUnknown();
    for (const directory of unknown.kept)
      logger.error({
        directory,
        msg: 'a former life has left this, and its notes cannot be read: it is kept, look into it',
      });
    const removed = [...unknown.removed, ...(await pruneWorktrees(repositories))];
    if (removed.length > 0) logger.warn({ removed, msg: 'a former life had left this; it is removed' });
  }

  private async endOne(agentId: AgentId): Promise<void> {
    const { store, audit, logger, reaping } = this.parts;
    const state = (await store.find(agentId))?.state ?? 'unknown';
    logger.warn({ agentId, state, msg: 'a former life has left something of this agent' });
    await audit.append({ kind: 'agent.orphan', subject: agentId, detail: { state } });
    await reaping.untilGoneIfRegistered(agentId);
    this.stuck.delete(agentId);
    await this.removeSandboxes(agentId).catch((error: unknown) => {
      logger.error({ err: error, agentId, msg: 'its sandboxes are not removed yet; the clean-up does it' });
    });
    // One that waits is cleaned up by its next start, which begins from nothing.
    if (state !== 'queued') await store.markUntidy(agentId);
  }

  private async removeSandboxes(agentId: AgentId): Promise<void> {
    const { driver, logger } = this.parts;
    const pids = await driver.removeLeftovers(agentId);
    if (pids.length > 0) logger.warn({ agentId, pids, msg: 'processes of a former life were left; they are ended' });
  }

  private async ask(): Promise<string[]> {
    const { agents, faults } = await this.parts.driver.agentsFound();
    this.isUnheard = faults.length > 0;
    for (const err of faults)
      this.parts.logger.error({ err, msg: 'a sandbox driver does not say what was left; it is asked again' });
    return agents;
  }
}
