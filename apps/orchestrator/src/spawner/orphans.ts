import type { AuditLog } from '@capstan/evidence';
import type { Logger } from '@capstan/platform';
import { isId, type AgentId } from '@capstan/protocol';
import type { SandboxDriver } from '@capstan/sandbox';
import { pruneWorktrees } from '../git/index.js';
import type { Reaping } from '../killswitch/reaping.js';
import type { AgentStore } from '../valkey/agent.store.js';
import type { Sessions } from './session.js';

export interface OrphanParts {
  reaping: Reaping;
  sessions: Sessions;
  driver: SandboxDriver;
  store: AgentStore;
  audit: AuditLog;
  /** Of the bare repositories. */
  repositories: string;
  logger: Logger;
}

/**
 * What a former life of this orchestrator left, whether or not Valkey remembers it: agents in the reaper's register,
 * sandboxes of the driver, directories with their sockets and work trees, git's memory of them.
 *
 * For the start of the process only: nothing of its own runs yet, so that whatever is there is nobody's.
 */
export class Orphans {
  constructor(private readonly parts: OrphanParts) {}

  /** Ends every process that was left, and hands what is on disk to the clean-up. */
  async end(): Promise<void> {
    const { driver, store, audit, logger } = this.parts;
    for (const agentId of await this.find()) {
      const state = (await store.find(agentId))?.state ?? 'unknown';
      logger.warn({ agentId, state, msg: 'a former life has left something of this agent' });
      await audit.append({ kind: 'agent.orphan', subject: agentId, detail: { state } });
      await this.parts.reaping.untilGoneIfRegistered(agentId);
      const pids = await driver.removeLeftovers(agentId);
      if (pids.length > 0) logger.warn({ agentId, pids, msg: 'processes of a former life were left; they are ended' });
      // One that waits is cleaned up by its next start, which begins from nothing.
      if (state !== 'queued') await store.markUntidy(agentId);
    }
  }

  /** After the clean-up: what nobody could name any more. */
  async removeRest(): Promise<void> {
    const { sessions, repositories, logger } = this.parts;
    const removed = [...(await sessions.removeUnknown()), ...(await pruneWorktrees(repositories))];
    if (removed.length > 0) logger.warn({ removed, msg: 'a former life had left this; it is removed' });
  }

  private async find(): Promise<AgentId[]> {
    const { reaping, sessions, driver } = this.parts;
    const found = new Set<string>([
      ...(await reaping.registered()),
      ...(await driver.agentsWithSandboxes()),
      ...(await sessions.recallAll()).map(({ agentId }) => agentId),
    ]);
    return [...found].filter((id): id is AgentId => isId(id));
  }
}
