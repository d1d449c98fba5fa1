import { join } from 'node:path';
import type { CompactionPolicy, Logger, ReaperClient } from '@capstan/platform';
import type { PreparedSandbox, RunningSandbox, SandboxDriver, SandboxLimits } from '@capstan/sandbox';
import { WireFault, type FaultCode, type WarningView } from '@capstan/protocol';
import { absentContents, type BareRepository, type RepositoryStore, type Worktree } from '../git/index.js';
import type { GatewaySession, ModelGateway, Usage } from '../gateway/index.js';
import { isStopped } from '../killswitch/kill-scope.js';
import type { Reaping } from '../killswitch/reaping.js';
import type { ClearSecrets } from '../secrets/agent-secrets.js';
import type { Claim } from '../valkey/agent.store.js';
import type { AgentRun } from './agent-run.js';
import { CannotGoOn } from './cannot-go-on.js';
import type { FoundAgent } from './found-agent.js';
import { Inbox, type MessageNotice } from './inbox.js';
import { sandboxSpec, taskFile } from './runtimes.js';
import type { ProgramStore } from './program.store.js';
import type { Session, SessionRecord, Sessions } from './session.js';
import type { SpawnPlan } from './spawn-plan.js';
import { standOf, type Stand, type Submission } from './submission.js';
import type { WorkPlace } from './work-place.js';
import { isConflict, SubmitDesk, type Judge, type SubmitAnswer, type Trial } from './submit-desk.js';
import type { UsageRecorder } from './usage-recorder.js';

/** The reaper forbids the start for ever: a tombstone, an epoch or a disarmed scope. */
export class StartForbidden extends Error {
  constructor(readonly code: string) {
    super(`the reaper forbids the start: ${code}`);
  }
}

/** The instance changed its mind before GO. */
export class StartStopped extends Error {}

/** An agent that was given GO, with all that it uses. */
export interface Launched extends WorkPlace {
  gateway: GatewaySession;
  sandbox: RunningSandbox;
  /** Where the agent submits and hears what is wrong. */
  submits: SubmitDesk;
  /** What of its repository it was not given. */
  warnings: readonly WarningView[];
}

export interface LauncherParts {
  sessions: Sessions;
  programs: ProgramStore;
  repositories: RepositoryStore;
  gateway: ModelGateway;
  driver: SandboxDriver;
  reaper: ReaperClient;
  reaping: Reaping;
  logger: Logger;
  runtimeDir: string;
  agentLimits: SandboxLimits;
  /** When the owner wants the built-in agent's conversation summed up. */
  compaction: () => Promise<CompactionPolicy>;
  /** Tells what becomes of the operator's messages; never throws. */
  tell: (notice: MessageNotice) => void;
  /** Judges what an agent submits while it lives. */
  judge: (plan: SpawnPlan, place: WorkPlace, submission: Submission, trial: Trial) => Promise<SubmitAnswer>;
}

/** Codes with which the reaper forbids this start and every later one of the same agent. */
const FORBIDDEN_FOR_EVER: readonly string[] = ['tombstoned', 'kill-epoch', 'disarmed'] satisfies FaultCode[];

/** The start order: worktree, gateway, sandbox that waits, registration on the reaper's disk, GO. */
export class Launcher {
  constructor(private readonly parts: LauncherParts) {}

  /**
   * Resolves once the agent was given GO. When it rejects before that, nothing of the attempt is left.
   *
   * @throws StartForbidden, StartStopped; WireFault and local faults of the parts, see `run.goGiven` for whether a
   *   retry is legal
   */
  async launch(run: AgentRun, claim: Claim, usage: UsageRecorder, secrets: ClearSecrets = {}): Promise<Launched> {
    const { sessions, repositories, driver } = this.parts;
    const { plan } = claim;
    const { agentId, taskId } = plan;
    await using undo = new AsyncDisposableStack();
    const later = (what: string, step: () => Promise<unknown>): void => undo.defer(() => this.attempt(run, what, step));

    // The reaper would refuse it too, once everything is built.
    const { killEpochs } = await this.parts.reaper.describe();
    if (isStopped(plan, killEpochs)) throw new StartForbidden('kill-epoch');
    const program = await this.parts.programs.find(plan.runtime);
    const session = await sessions.open(agentId);
    // Its notes say what is left, where something is.
    later('directory', async () => (run.hasLeftovers ? undefined : sessions.remove(agentId)));
    const repository = await repositories.open(plan.tenant, plan.repository);
    const base = await repository.resolveBranch(plan.branch);
    stopIfUnwanted(run);
    const { uid, gid, directory: parent } = session;
    const worktree = await repository.addWorktree({ agentId, taskId, commit: base.commit, uid, gid, parent });
    later('worktree', () => repository.removeWorktree(worktree));
    const warnings = await this.warningsOf(repository, worktree);
    const { dir, adminDir, commit } = worktree;
    const { tenant, repository: name } = plan;
    const record: SessionRecord = {
      agentId,
      uid,
      gid,
      tenant,
      repository: name,
      worktree: { agentId, taskId, dir, adminDir, commit },
      targetRef: base.ref,
      ...(program === undefined ? {} : { program: program.kind }),
    };
    await sessions.remember(record);

    const gateway = await this.openGateway(run, claim, session, usage);
    later('gateway', () => gateway.close());
    const earlierTrees = new Map<string, string>();
    const place = { session, repository, worktree, targetRef: base.ref, earlierTrees, trialBytes: 0 };
    const judge = this.judgeAt(plan, place);
    const inbox = new Inbox(agentId, program?.kind !== 'command', this.parts.tell);
    const submits = await SubmitDesk.open(submitSocketOf(session), gid, judge, inbox);
    later('submit desk', () => submits.close());
    await sessions.giveFile(session, 'task.json', taskFile(plan, program, await this.parts.compaction()));
    stopIfUnwanted(run);
    const { runtimeDir, agentLimits: limits } = this.parts;
    const sandbox = await driver.prepare(
      sandboxSpec({ plan, session, runtimeDir, limits, worktreeMounts: worktree.mounts(), secrets, program }),
    );
    later('control group', () => sandbox.dispose());
    const registration = this.registration(run);
    later('registration', () => registration.end());
    later('sandbox', () => sandbox.abort());
    demandEnforced(plan, sandbox);
    await sessions.remember({ ...record, cgroup: sandbox.handle.cgroup });

    await registration.make(claim, sandbox);
    stopIfUnwanted(run);
    run.goGiven = true;
    await sandbox.go();
    run.inbox = inbox;
    undo.move();
    return { ...place, gateway, sandbox, submits, warnings };
  }

  /**
   * Gives an agent that has outlived its orchestrator its sockets again, at the paths that it knows. What the last request
   * cost may be missing in its own budget; a submission that was being judged is to be made again.
   *
   * @throws CannotGoOn where something of it is gone. @throws Error where it cannot be had now; the agent is as it was then
   */
  async adopt(run: AgentRun, claim: Claim, found: FoundAgent, usage: UsageRecorder): Promise<Launched> {
    const { sessions, repositories } = this.parts;
    const { plan, agent } = claim;
    const { worktree: noted, targetRef } = found.record;
    const session = sessions.reopen(found.record);
    const repository = await repositories.recall(plan.tenant, plan.repository);
    if (repository === undefined || noted === undefined || targetRef === undefined)
      throw new CannotGoOn('its repository is gone');
    const worktree = repository.recallWorktree(noted);
    await using undo = new AsyncDisposableStack();
    const gateway = await this.openGateway(run, claim, session, usage, agent.usage);
    undo.defer(() => gateway.close());
    const { earlierTrees: trees = {}, stand } = found.record;
    const earlierTrees = new Map(Object.entries(trees));
    const place = { session, repository, worktree, targetRef, earlierTrees, trialBytes: 0 };
    const judge = this.judgeAt(plan, place);
    const inbox = new Inbox(plan.agentId, found.record.program !== 'command', this.parts.tell);
    const submits = await SubmitDesk.open(submitSocketOf(session), session.gid, judge, inbox, stand);
    run.inbox = inbox;
    undo.move();
    return { ...place, gateway, sandbox: found.sandbox, submits, warnings: [] };
  }

  /** What an agent that outlives this process would have to be judged by is noted before it hears the answer. */
  private judgeAt(plan: SpawnPlan, place: WorkPlace): Judge {
    const { agentId } = plan;
    const note = (stand: Stand): Promise<void> =>
      this.parts.sessions
        .amend(agentId, { stand, earlierTrees: Object.fromEntries(place.earlierTrees) })
        .catch((error: unknown) => {
          this.parts.logger.error({ err: error, agentId, msg: 'where its submission stands could not be noted' });
        });
    return async (submission, trial) => {
      await note(standOf(submission));
      const answer = await this.parts.judge(plan, place, submission, trial);
      if (isConflict(answer)) await note({});
      return answer;
    };
  }

  /** An agent runs without a look at its repository too. */
  private async warningsOf(repository: BareRepository, worktree: Worktree): Promise<WarningView[]> {
    try {
      return await absentContents(repository, worktree);
    } catch (error) {
      const { agentId } = worktree;
      this.parts.logger.warn({ err: error, agentId, msg: 'what the work tree lacks could not be found out' });
      return [];
    }
  }

  private openGateway(
    run: AgentRun,
    { plan }: Claim,
    session: Session,
    usage: UsageRecorder,
    before?: Usage,
  ): Promise<GatewaySession> {
    const { agentId, taskId, tenant, budgetMicroUsd, model, playbook, role } = plan;
    const { socketPath, uid, gid } = session;
    return this.parts.gateway.open({
      agentId,
      taskId,
      tenant,
      socketPath,
      uid,
      gid,
      budgetMicroUsd,
      role,
      model,
      playbook,
      onUsage: (figures) => usage.record(figures),
      onBudget: (code) => run.stop({ kind: 'limit', code }),
      ...(before === undefined ? {} : { before }),
    });
  }

  /** What was registered is also observed gone, so that the reaper's register does not keep it. */
  private registration(run: AgentRun): {
    make: (claim: Claim, sandbox: PreparedSandbox) => Promise<void>;
    end: () => Promise<void>;
  } {
    const { reaper, reaping } = this.parts;
    let isTried = false;
    return {
      make: async ({ plan }, { handle }) => {
        const { agentId, tenant, killAfterMs } = plan;
        const killEpochs = plan.killEpochs.map((it) => ({ ...it, epoch: BigInt(it.epoch) }));
        isTried = true;
        const answer = await reaper.register({
          agentId,
          tenant,
          handle,
          killEpochs,
          killAfterMs: BigInt(killAfterMs),
        });
        if (answer.ok) return;
        isTried = false;
        if (FORBIDDEN_FOR_EVER.includes(answer.code)) throw new StartForbidden(answer.code);
        // Nobody may live by a hub that is silent already; a retry may find it back.
        if (answer.code === 'lease-expired') throw new WireFault('lease-expired');
        throw new Error(`the reaper cannot take another agent: ${answer.code}`);
      },
      end: async () => {
        if (isTried) await reaping.untilGoneIfRegistered(run.agentId);
      },
    };
  }

  private async attempt(run: AgentRun, what: string, step: () => Promise<unknown>): Promise<void> {
    try {
      await step();
    } catch (error) {
      run.hasLeftovers = true;
      this.parts.logger.error({ err: error, agentId: run.agentId, what, msg: 'a part of a failed start is left' });
    }
  }
}

const submitSocketOf = ({ runDirectory }: Session): string => join(runDirectory, 'submit.sock');

/** What was asked of the kernel and refused by it is no limit. @throws {WireFault} `policy-limits` */
function demandEnforced({ demandLimits = [] }: SpawnPlan, { enforced }: PreparedSandbox): void {
  const missing = demandLimits.filter((limit) => !enforced[limit]);
  if (missing.length > 0) throw new WireFault('policy-limits', missing.join(', '));
}

function stopIfUnwanted(run: AgentRun): void {
  if (run.intent !== undefined) throw new StartStopped();
}
