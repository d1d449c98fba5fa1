import type { CompactionPolicy, Logger, ReaperClient } from '@capstan/platform';
import type { PreparedSandbox, RunningSandbox, SandboxDriver, SandboxLimits } from '@capstan/sandbox';
import { WireFault, type FaultCode, type WarningView } from '@capstan/protocol';
import { absentContents, type BareRepository, type RepositoryStore, type Worktree } from '../git/index.js';
import { isStopped } from '../killswitch/kill-scope.js';
import type { Reaping } from '../killswitch/reaping.js';
import type { ClearSecrets } from '../secrets/agent-secrets.js';
import type { Claim } from '../valkey/agent.store.js';
import type { AgentRun } from './agent-run.js';
import { closeSockets, type AgentSockets, type OpenSockets } from './agent-sockets.js';
import { sandboxSpec, taskFile } from './runtimes.js';
import type { ProgramStore } from './program.store.js';
import type { Sessions } from './session.js';
import type { SessionRecord } from './session-record.js';
import type { SpawnPlan } from './spawn-plan.js';
import type { WorkPlace } from './work-place.js';
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
export interface Launched extends WorkPlace, Omit<OpenSockets, 'inbox'> {
  sandbox: RunningSandbox;
  /** What of its repository it was not given. */
  warnings: readonly WarningView[];
}

export interface LauncherParts {
  sessions: Sessions;
  programs: ProgramStore;
  repositories: RepositoryStore;
  sockets: AgentSockets;
  driver: SandboxDriver;
  reaper: ReaperClient;
  reaping: Reaping;
  logger: Logger;
  runtimeDir: string;
  agentLimits: SandboxLimits;
  /** When the owner wants the built-in agent's conversation summed up. */
  compaction: () => Promise<CompactionPolicy>;
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
    stopIfUnwanted(run);
    const session = await sessions.open(agentId);
    // Its notes say what is left, where something is.
    later('directory', async () => (run.hasLeftovers ? undefined : sessions.remove(agentId)));
    const repository = await repositories.open(plan.tenant, plan.repository);
    const base = await repository.resolveBranch(plan.branch);
    stopIfUnwanted(run);
    const { uid, gid, directory: parent } = session;
    const worktree = await repository.addWorktree({ agentId, taskId, commit: base.commit, uid, gid, parent });
    later('worktree', () => repository.removeWorktree(worktree));
    // Asked while the rest is made ready, and answered before the agent could change anything.
    const warned = this.warningsOf(repository, worktree);
    later('warnings', () => warned);
    const { dir, adminDir, commit } = worktree;
    const targetRef = base.ref;
    const { tenant, repository: name } = plan;
    const record: SessionRecord = {
      agentId,
      uid,
      gid,
      tenant,
      repository: name,
      worktree: { agentId, taskId, dir, adminDir, commit },
      targetRef,
      ...(program === undefined ? {} : { program: program.kind }),
    };
    await sessions.remember(record);

    const place: WorkPlace = { session, repository, worktree, targetRef, earlierTrees: new Map(), trialBytes: 0 };
    const { inbox, ...sockets } = await this.parts.sockets.open(run, { plan, place, program: program?.kind, usage });
    later('sockets', () => closeSockets(sockets));
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
    const warnings = await warned;
    stopIfUnwanted(run);
    run.goGiven = true;
    await sandbox.go();
    run.inbox = inbox;
    undo.move();
    return { ...place, ...sockets, sandbox, warnings };
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

/** What was asked of the kernel and refused by it is no limit. @throws {WireFault} `policy-limits` */
function demandEnforced({ demandLimits = [] }: SpawnPlan, { enforced }: PreparedSandbox): void {
  const missing = demandLimits.filter((limit) => !enforced[limit]);
  if (missing.length > 0) throw new WireFault('policy-limits', missing.join(', '));
}

function stopIfUnwanted(run: AgentRun): void {
  if (run.intent !== undefined) throw new StartStopped();
}
