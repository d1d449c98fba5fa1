import { lstat } from 'node:fs/promises';
import { removeControlGroups, type SandboxDriver } from '@capstan/sandbox';
import { LocalFault, type Logger } from '@capstan/platform';
import { isTerminal, WireFault, type AgentId } from '@capstan/protocol';
import { HarvestInterrupted, salvage, type BareRepository, type RepositoryStore, type Worktree } from '../git/index.js';
import type { AgentLog } from '../monitor/agent-log.js';
import type { AgentStore } from '../valkey/agent.store.js';
import type { AgentRun } from './agent-run.js';
import type { Launched } from './launcher.js';
import type { Sessions } from './session.js';
import type { SessionRecord } from './session-record.js';
import type { Turns } from './turns.js';

export interface CleanupParts {
  driver: SandboxDriver;
  sessions: Sessions;
  repositories: RepositoryStore;
  store: AgentStore;
  /** So much work is saved at once. */
  turns: Turns;
  logger: Logger;
  /** Aborted when the orchestrator stops: the next start saves what is left. */
  signal: AbortSignal;
}

/** Times that a harvest may be interrupted before the work tree is left as it is. */
const MOST_TRIES = 5;

const KEPT = 'Unfinished work could not be saved: its work tree is kept.';

interface Saved {
  /** Only what was saved may be removed. `later`: a later attempt may succeed. */
  outcome: 'saved' | 'later' | 'kept';
  sentence: string;
}

const NOT_YET: Saved = { outcome: 'later', sentence: 'Unfinished work could not be saved yet.' };

/** Removes what an agent leaves: sandbox, gateway socket, worktree, directories. What fails is tried again by the sweep. */
export class Cleanup {
  private readonly tries = new Map<AgentId, number>();
  private readonly finishing = new Map<AgentId, Promise<void>>();

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
      // The sweep tries again; until it is saved the work tree is all that there is of it.
      if (saved.outcome !== 'saved') return;
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
    const finishing = this.clearAway(agentId).finally(() => this.finishing.delete(agentId));
    this.finishing.set(agentId, finishing);
    await finishing;
  }

  /**
   * Before a start, which begins with an empty directory: an order that comes again after Valkey was emptied names an agent whose
   * work is on disk still, and is saved first.
   *
   * @throws LocalFault `not-saved`, `session-unreadable`
   */
  async makeRoomFor(agentId: AgentId): Promise<void> {
    const finishing = this.finishing.get(agentId);
    if (finishing !== undefined) await finishing;
    else if ((await this.parts.sessions.recall(agentId))?.worktree !== undefined) await this.finishLeft(agentId);
  }

  private async clearAway(agentId: AgentId): Promise<void> {
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
    if (record?.worktree !== undefined && repository === undefined && (await isThere(record.worktree.dir))) {
      await this.keep(record, 'its repository is gone');
      throw new LocalFault('not-saved', KEPT, agentId);
    }
    if (record?.worktree !== undefined && repository !== undefined) {
      const worktree = repository.recallWorktree(record.worktree);
      const { outcome, sentence } = await this.save(record, repository, worktree);
      if (outcome !== 'saved') throw new LocalFault('not-saved', sentence, agentId);
      isDone = (await this.attempt(agentId, 'worktree', () => repository.removeWorktree(worktree))) && isDone;
    }
    await this.finishDisk(agentId, isDone);
  }

  /** Those that no register knows: they were given no GO by the reaper's leave, and died unnoticed or not at all. */
  async endSandboxes(agentId: AgentId): Promise<void> {
    const pids = await this.parts.driver.removeLeftovers(agentId);
    if (pids.length > 0)
      this.parts.logger.warn({ agentId, pids, msg: 'processes of a sandbox were left; they are ended' });
  }

  /**
   * Keeps unfinished work in a ref.
   *
   * What cannot be saved is kept as it is, for the owner to look at; nothing here tries it again before the next start.
   *
   * @returns what became of it, for the agent's log; `later` for a Docker that hangs, a disk that is full, a harvest that took
   *   too long
   */
  private async save(owner: SessionRecord, repository: BareRepository, worktree: Worktree): Promise<Saved> {
    const { agentId, uid, gid } = owner;
    const { turns, signal } = this.parts;
    const tries = (this.tries.get(agentId) ?? 0) + 1;
    if (tries > MOST_TRIES) return { outcome: 'kept', sentence: KEPT };
    // An earlier clean-up came as far as this.
    if (!(await isThere(worktree.dir))) return { outcome: 'saved', sentence: 'There was no unfinished work.' };
    try {
      const { driver, logger } = this.parts;
      const order = { repository, worktree, driver, uid, gid, logger, signal };
      const saved = await turns.run(() => salvage(order), signal);
      this.tries.delete(agentId);
      return { outcome: 'saved', sentence: sentenceOf(saved) };
    } catch (error) {
      if (signal.aborted) return NOT_YET;
      this.parts.logger.error({ err: error, agentId, tries, msg: 'unfinished work could not be saved' });
      const isInterrupted = error instanceof HarvestInterrupted;
      // What cannot be taken in cannot be taken in later either.
      const isFinal = isInterrupted ? tries === MOST_TRIES : error instanceof WireFault && !error.retryable;
      if (isInterrupted) this.tries.set(agentId, tries);
      if (!isFinal) return NOT_YET;
      await this.keep(owner, error instanceof Error ? error.message : '');
      return { outcome: 'kept', sentence: KEPT };
    }
  }

  /** Notes for the owner, who is shown it by `capstan agents salvage`, that the work tree stays, and why. */
  private async keep({ agentId }: { agentId: AgentId }, why: string): Promise<void> {
    const { sessions, logger } = this.parts;
    this.tries.set(agentId, MOST_TRIES);
    const record = await sessions.recall(agentId);
    if (record === undefined) return;
    const kept = { ...record, kept: { at: new Date().toISOString(), why } };
    await sessions.remember(kept);
    logger.error({ agentId, directory: record.worktree?.dir, msg: KEPT });
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

function sentenceOf(saved: Awaited<ReturnType<typeof salvage>>): string {
  if (saved === undefined) return 'There was no unfinished work.';
  const without = saved.leftOut.length === 0 ? '' : `, without what is too large: ${saved.leftOut.join(', ')}`;
  return `Unfinished work was saved to ${saved.ref}${without}.`;
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (error: unknown) => (error as NodeJS.ErrnoException).code !== 'ENOENT',
  );
}
