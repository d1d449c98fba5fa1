import { removeControlGroups, type SandboxDriver } from '@capstan/sandbox';
import { LocalFault, type Logger } from '@capstan/platform';
import { isTerminal, WireFault, type AgentId } from '@capstan/protocol';
import { salvage, type BareRepository, type RepositoryStore, type Worktree } from '../git/index.js';
import type { AgentLog } from '../monitor/agent-log.js';
import type { AgentStore } from '../valkey/agent.store.js';
import type { AgentRun } from './agent-run.js';
import type { Launched } from './launcher.js';
import type { SessionRecord, Sessions } from './session.js';

export interface CleanupParts {
  driver: SandboxDriver;
  sessions: Sessions;
  repositories: RepositoryStore;
  store: AgentStore;
  logger: Logger;
}

interface Saved {
  isSettled: boolean;
  sentence: string;
}

/** Removes what an agent leaves: sandbox, gateway socket, worktree, directories. What fails is tried again by the sweep. */
export class Cleanup {
  constructor(private readonly parts: CleanupParts) {}

  /** After an agent that was given GO. @param save whether its unfinished work is kept in a salvage ref. */
  async finish(launched: Launched, save: boolean, log: AgentLog): Promise<void> {
    const { session, repository, worktree, gateway, sandbox } = launched;
    const { agentId } = session;
    const steps = [
      await this.attempt(agentId, 'gateway', () => gateway.close()),
      await this.attempt(agentId, 'sandbox', () => sandbox.dispose()),
    ];
    if (save) {
      const saved = await this.save(session, repository, worktree);
      log.append('system', saved.sentence);
      // The sweep tries again; until then the work tree is all that there is of it.
      if (!saved.isSettled) return;
    }
    steps.push(await this.attempt(agentId, 'worktree', () => repository.removeWorktree(worktree)));
    await this.finishDisk(agentId, steps.every(Boolean));
  }

  /** After a start that failed: the launcher has undone its own steps, or the run says that something is left. */
  async finishUnstarted({ agentId, hasLeftovers }: AgentRun): Promise<void> {
    await this.finishDisk(agentId, !hasLeftovers);
  }

  /**
   * After a crash: from what was noted on disk, and with nobody's help, the repository's source included. What the
   * reaper has registered of the agent must be observed gone.
   */
  async finishLeft(agentId: AgentId): Promise<void> {
    const { sessions, repositories, store } = this.parts;
    const [record, plan] = [await sessions.recall(agentId), await store.findPlan(agentId)];
    // A harvest, say, that was being launched: it may still read the work tree.
    await this.endSandboxes(agentId);
    let isDone = true;
    const cgroup = record?.cgroup ?? '';
    if (cgroup !== '') isDone = await this.attempt(agentId, 'control group', () => removeControlGroups(cgroup));
    // The notes on disk outlive a Valkey that was emptied.
    const { tenant, repository: name } = plan ?? record ?? {};
    const repository = tenant === undefined || name === undefined ? undefined : await repositories.recall(tenant, name);
    if (record?.worktree !== undefined && repository !== undefined) {
      const worktree = repository.recallWorktree(record.worktree);
      const { isSettled } = await this.save(record, repository, worktree);
      if (!isSettled) throw new LocalFault('not-saved', 'Unfinished work could not be saved yet.', agentId);
      isDone = (await this.attempt(agentId, 'worktree', () => repository.removeWorktree(worktree))) && isDone;
    }
    await this.finishDisk(agentId, isDone);
  }

  /** Those that no register knows: they were given no GO by the reaper's leave, and died unnoticed or not at all. */
  private async endSandboxes(agentId: AgentId): Promise<void> {
    const pids = await this.parts.driver.removeLeftovers(agentId);
    if (pids.length > 0)
      this.parts.logger.warn({ agentId, pids, msg: 'processes of a sandbox were left; they are ended' });
  }

  /**
   * Keeps unfinished work in a ref.
   *
   * @returns what became of it, for the agent's log; not settled where a later attempt may succeed: a Docker that hangs, a disk
   *   that is full.
   */
  private async save(owner: SessionRecord, repository: BareRepository, worktree: Worktree): Promise<Saved> {
    const { agentId, uid, gid } = owner;
    try {
      const saved = await salvage({ repository, worktree, driver: this.parts.driver, uid, gid });
      const sentence = `Unfinished work was saved to ${saved?.ref ?? ''}.`;
      return { isSettled: true, sentence: saved === undefined ? 'There was no unfinished work.' : sentence };
    } catch (error) {
      this.parts.logger.error({ err: error, agentId, msg: 'unfinished work could not be saved' });
      // What cannot be taken in cannot be taken in later either.
      const isSettled = error instanceof WireFault && !error.retryable;
      const sentence = isSettled ? 'Unfinished work could not be saved.' : 'Unfinished work could not be saved yet.';
      return { isSettled, sentence };
    }
  }

  /** The directory last: it holds the notes. An agent that is queued again is not marked: its next start goes on. */
  private async finishDisk(agentId: AgentId, isDone: boolean): Promise<void> {
    const { sessions, store } = this.parts;
    if (!isDone || !(await this.attempt(agentId, 'directory', () => sessions.remove(agentId)))) return;
    const agent = await store.find(agentId);
    if (agent === undefined || isTerminal(agent.state)) await store.markTidy(agentId);
  }

  private async attempt(agentId: AgentId, what: string, step: () => Promise<unknown>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (error) {
      this.parts.logger.error({ err: error, agentId, what, msg: 'not cleaned up yet' });
      return false;
    }
  }
}
