import type { Logger, SecretScanPolicy } from '@capstan/platform';
import { stripControl, WireFault, type AgentView } from '@capstan/protocol';
import type { SandboxDriver } from '@capstan/sandbox';
import type { Gates, GateSubject, GateVerdict } from '../coordinator/gates.js';
import {
  changesOf,
  commitHarvest,
  HARVEST_LIMITS,
  holdHarvest,
  push,
  PushFault,
  quotePath,
  standWork,
  type Author,
  type BareRepository,
  type HeldHarvest,
  type RepositoryStore,
} from '../git/index.js';
import type { SecretScanner } from '../secret-scan/index.js';
import type { AgentRun } from './agent-run.js';
import type { Sessions } from './session.js';
import type { Pushing } from './session-record.js';
import type { SpawnPlan } from './spawn-plan.js';
import type { Submission } from './submission.js';
import type { Trial } from './submit-desk.js';
import type { Turns } from './turns.js';
import { TRIAL_BYTES, type WorkPlace } from './work-place.js';
import { conflictRefused, secretsRefused, WorkRefused } from './work-refused.js';

export type HarvestView = NonNullable<AgentView['harvest']>;

/** The agent was killed while its work was taken in: nothing more of it goes out. */
export class HarvestStopped extends Error {
  /** @param pushing what a push was broken off of: the source may have taken it just before. */
  constructor(readonly pushing?: Pushing) {
    super('the agent was killed while its work was taken in');
  }
}

export interface HarvesterParts {
  driver: SandboxDriver;
  repositories: RepositoryStore;
  sessions: Pick<Sessions, 'amend'>;
  scanner: SecretScanner;
  secretScan: () => Promise<SecretScanPolicy>;
  gates: Gates;
  /** So many harvests and judgements run at once; none of them waits for a remote. */
  turns: Turns;
  author: () => Promise<Author>;
  instanceId: () => Promise<string>;
  /** Whether a kill-all means the agent, whoever was told of it; asked before each push, and waited for. */
  isStopped: (plan: SpawnPlan) => Promise<boolean>;
  logger: Logger;
}

/** Work that may be committed. */
interface Judged {
  files: readonly string[];
  tree: string;
  parents: readonly string[];
  base: string;
  expected: string | undefined;
  /** Where the tree's objects are, before they are kept. */
  objects: string;
  message: string;
  trailers: Record<string, string>;
}

/** Where the owner names nobody. */
export const DEFAULT_AUTHOR: Author = { name: 'Capstan agent', email: 'agent@capstan.invalid' };

const TITLE_LENGTH = 72;
/** Times that a branch may be moved by others while we push. */
const PUSHES = 3;

/** Makes a commit on the task's branch out of what an agent left, and pushes it; secret scan and gates stand in between. */
export class Harvester {
  constructor(private readonly parts: HarvesterParts) {}

  /**
   * Judges the work of an agent that waits for the answer; commits nothing.
   *
   * @throws {WireFault} as `take`; WorkRefused
   */
  async try(plan: SpawnPlan, place: WorkPlace, submission: Submission, trial: Trial): Promise<void> {
    const { turns } = this.parts;
    const { signal } = trial;
    const reading = turns.run(() => this.harvest(place, signal, TRIAL_BYTES - place.trialBytes), signal);
    trial.hold(reading);
    await using taken = await reading;
    try {
      await this.bringUpToDate(plan, signal);
      await turns.run(() => this.judge(plan, place, submission, taken, signal), signal);
    } finally {
      place.trialBytes += await taken.bytes();
    }
  }

  /**
   * @param submission what the agent says it did.
   * @throws {WireFault} `agent-no-change`, `harvest-refused`, `secret-scan-failed`; WorkRefused; PushFault; HarvestStopped
   */
  async take(run: AgentRun, plan: SpawnPlan, place: WorkPlace, submission: Submission): Promise<HarvestView> {
    try {
      return await this.takeIn(run, plan, place, submission);
    } catch (error) {
      // What a kill breaks off fails in many ways.
      throw run.killed.aborted && !(error instanceof HarvestStopped) ? new HarvestStopped() : error;
    }
  }

  private async takeIn(run: AgentRun, plan: SpawnPlan, place: WorkPlace, submission: Submission): Promise<HarvestView> {
    const { turns } = this.parts;
    const signal = run.killed;
    await using taken = await turns.run(() => this.harvest(place, signal), signal);
    for (let attempt = 1; ; attempt += 1) {
      await this.bringUpToDate(plan, signal);
      const judged = await turns.run(() => this.judge(plan, place, submission, taken, signal), signal);
      goOn(run);
      await taken.keep();
      try {
        return await this.land(run, plan, place, judged);
      } catch (error) {
        if (!(error instanceof PushFault) || error.reason !== 'moved' || attempt === PUSHES) throw error;
        this.parts.logger.warn({
          err: error,
          agentId: plan.agentId,
          attempt,
          msg: 'the branch was moved; judged again',
        });
      }
    }
  }

  private async land(run: AgentRun, plan: SpawnPlan, place: WorkPlace, judged: Judged): Promise<HarvestView> {
    const { repository } = place;
    const { tree, parents, base: baseCommit, expected, files, message, trailers } = judged;
    const branch = branchOf(plan);
    const author = await this.parts.author();
    const commit = await commitHarvest({ repository, tree, parents, branch, message, author, trailers });
    demand(await this.parts.gates.beforePush({ ...subjectOf(plan, place, judged), commit }));
    // Should we die: the source may have taken it all the same.
    await this.parts.sessions.amend(plan.agentId, { pushing: { branch, commit } });
    if (await this.parts.isStopped(plan)) throw new HarvestStopped();
    goOn(run);
    await push({ repository, branch, commit, expected, signal: run.killed }).catch(async (error: unknown) => {
      if (run.killed.aborted) throw new HarvestStopped({ branch, commit });
      if (error instanceof PushFault && !error.isDoubtful) {
        await this.parts.sessions.amend(plan.agentId, { pushing: undefined });
      }
      throw error;
    });
    this.parts.logger.info({ agentId: plan.agentId, branch, commit, files: files.length, msg: 'the work was pushed' });
    return { branch, baseCommit, commit, tree, files: [...files], pushed: true };
  }

  /** @param mostBytes of what is taken, packed. */
  private async harvest(
    { repository, worktree, session }: WorkPlace,
    signal: AbortSignal,
    mostBytes = Infinity,
  ): Promise<HeldHarvest> {
    if (mostBytes <= 0) throw new WireFault('harvest-refused', 'too much was submitted on trial in all');
    const { uid, gid } = session;
    const limits = { packBytes: Math.min(HARVEST_LIMITS.packBytes, mostBytes) };
    const { driver, logger } = this.parts;
    return holdHarvest({ repository, worktree, driver, uid, gid, limits, logger, signal });
  }

  /**
   * What others have pushed since the agent began. A remote may take its time: never while a turn is held.
   *
   * @param signal ends the waiting alone: what is fetched serves other agents of the repository too.
   */
  private async bringUpToDate({ tenant, repository }: SpawnPlan, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const ended = Promise.withResolvers<never>();
    const end = (): void => ended.reject(signal.reason);
    signal.addEventListener('abort', end, { once: true });
    try {
      await Promise.race([this.parts.repositories.open(tenant, repository), ended.promise]);
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  private async judge(
    plan: SpawnPlan,
    place: WorkPlace,
    submission: Submission,
    taken: HeldHarvest,
    signal: AbortSignal,
  ): Promise<Judged> {
    const { instanceId } = this.parts;
    const { repository } = taken;
    const author = await this.parts.author();
    const { agentId, taskId } = plan;
    const message = messageOf(plan, submission.summary);
    const trailers = {
      'Capstan-Agent': agentId,
      'Capstan-Task': taskId,
      'Capstan-Instance': await instanceId(),
    };
    signal.throwIfAborted();
    const { onto, by = 'rebase' } = submission;
    const stand = await standWork({
      repository,
      tree: taken.tree,
      base: place.worktree.commit,
      branch: branchOf(plan),
      targetRef: place.targetRef,
      target: plan.branch || 'the default branch',
      message,
      author,
      trailers,
      onto: onto === undefined ? undefined : { commit: onto, by, earlierTree: place.earlierTrees.get(onto) },
    });
    signal.throwIfAborted();
    // This tree too comes into the history where the work is merged, now or after a conflict: nothing goes out unsearched.
    const scanOwn = (base: string): Promise<void> =>
      this.scan(plan, repository, { base, tree: taken.tree, message, trailers });
    switch (stand.kind) {
      case 'conflict':
        await scanOwn(stand.ownBase);
        // The agent is told to compare the two.
        await taken.keep();
        place.earlierTrees.set(stand.onto, taken.tree);
        throw conflictRefused(stand, taken.tree);
      case 'target-missing':
        throw new WorkRefused('branch-missing', 'The branch that the agent was given is not at the source any more.');
      case 'unknown-onto':
        throw new WorkRefused('merge-conflict', `The source holds no commit ${onto ?? ''} on these branches.`);
      case 'fits':
        break;
    }
    const judged: Judged = {
      ...stand,
      files: await filesOf(place, stand, taken),
      objects: taken.directory,
      message,
      trailers,
    };
    await this.scan(plan, repository, judged);
    if (stand.tree !== taken.tree) await scanOwn(stand.ownBase);
    demand(await this.parts.gates.beforeCommit(subjectOf(plan, place, judged)));
    return judged;
  }

  private async scan(
    plan: SpawnPlan,
    repository: BareRepository,
    { base, tree, message, trailers }: Pick<Judged, 'base' | 'tree' | 'message' | 'trailers'>,
  ): Promise<void> {
    const { scanner, secretScan } = this.parts;
    const author = await this.parts.author();
    const findings = await scanner.scan({
      agentId: plan.agentId,
      hasSecrets: (plan.secretNames ?? []).length > 0,
      repository,
      base,
      tree,
      texts: {
        'the commit message': message,
        'the trailers': Object.values(trailers).join('\n'),
        'the branch name': branchOf(plan),
        'the author': `${author.name} <${author.email}>`,
      },
      policy: await secretScan(),
    });
    if (findings.length > 0) throw secretsRefused(findings);
  }
}

/** What the work changes in what it now stands on. @throws {WireFault} `agent-no-change` */
async function filesOf(
  { worktree }: WorkPlace,
  { base, tree }: { base: string; tree: string },
  taken: HeldHarvest,
): Promise<readonly string[]> {
  if (base === worktree.commit && tree === taken.tree) return taken.files;
  const changes = await changesOf(taken.repository, base, tree, {}, HARVEST_LIMITS.files);
  if (changes.length === 0) throw new WireFault('agent-no-change');
  return changes.map(({ path }) => quotePath(path));
}

const branchOf = ({ taskId }: SpawnPlan): string => `capstan/${taskId}`;

function subjectOf({ agentId, taskId }: SpawnPlan, { repository }: WorkPlace, judged: Judged): GateSubject {
  const { base: baseCommit, tree, files, objects } = judged;
  return { agentId, taskId, repository: repository.dir, objects, baseCommit, tree, files };
}

function demand(verdict: GateVerdict): void {
  if (!verdict.passed) throw new WorkRefused(verdict.code, verdict.sentence);
}

function goOn(run: AgentRun): void {
  if (run.intent?.kind === 'killed') throw new HarvestStopped();
}

/** First line: what the agent says, cut to the width that git's own tools show. */
function messageOf(plan: SpawnPlan, summary: string): string {
  const text = stripControl(summary).trim() || `Work on task ${plan.taskId}`;
  const [first = ''] = text.split('\n');
  if (first.length <= TITLE_LENGTH) return text;
  const title = `${first.slice(0, TITLE_LENGTH - 1).trimEnd()}…`;
  return `${title}\n\n${text}`;
}
