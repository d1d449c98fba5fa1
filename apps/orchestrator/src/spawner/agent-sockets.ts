import { join } from 'node:path';
import type { Logger, ProgramPolicy } from '@capstan/platform';
import type { GatewaySession, ModelGateway, Usage } from '../gateway/index.js';
import type { AgentRun } from './agent-run.js';
import { Inbox, type MessageNotice } from './inbox.js';
import type { Session, Sessions } from './session.js';
import type { SessionRecord } from './session-record.js';
import type { SpawnPlan } from './spawn-plan.js';
import { standOf, type Submission } from './submission.js';
import { isConflict, SubmitDesk, type Judge, type SubmitAnswer, type Trial } from './submit-desk.js';
import type { UsageRecorder } from './usage-recorder.js';
import type { WorkPlace } from './work-place.js';

/** How far an agent has come with what it submits. */
type Progress = Pick<SessionRecord, 'stand' | 'submissions' | 'refused'>;

export interface SocketParts {
  sessions: Pick<Sessions, 'amend'>;
  gateway: Pick<ModelGateway, 'open'>;
  /** Judges what an agent submits while it lives. */
  judge: (plan: SpawnPlan, place: WorkPlace, submission: Submission, trial: Trial) => Promise<SubmitAnswer>;
  /** Tells what becomes of the operator's messages; never throws. */
  tell: (notice: MessageNotice) => void;
  logger: Logger;
}

export interface SocketOrder {
  plan: SpawnPlan;
  place: WorkPlace;
  /** Which kind of the owner's programs it runs; absent where it is the built-in agent. */
  program?: ProgramPolicy['kind'] | undefined;
  usage: UsageRecorder;
  /** Of an agent that has outlived its orchestrator: how far it had come. */
  before?: Progress & { usage: Usage };
}

/** An agent's only ways out of its sandbox. */
export interface OpenSockets {
  gateway: GatewaySession;
  /** Where the agent submits and hears what is wrong. */
  submits: SubmitDesk;
  /** What the agent asks for where it submits. */
  inbox: Inbox;
}

/** Makes agents' sockets, in the directory that is mounted into their sandboxes. */
export class AgentSockets {
  constructor(private readonly parts: SocketParts) {}

  /** Resolves once the agent can connect; makes both or none. */
  async open(run: AgentRun, order: SocketOrder): Promise<OpenSockets> {
    const { plan, place, program, before } = order;
    await using undo = new AsyncDisposableStack();
    const gateway = await this.openGateway(run, order);
    undo.defer(() => gateway.close());
    const inbox = new Inbox(plan.agentId, program !== 'command', this.parts.tell);
    const { session } = place;
    const submits = await SubmitDesk.open(
      submitSocketOf(session),
      session.gid,
      this.judgeAt(plan, place),
      inbox,
      before,
    );
    undo.move();
    return { gateway, submits, inbox };
  }

  private openGateway(run: AgentRun, { plan, place, usage, before }: SocketOrder): Promise<GatewaySession> {
    const { agentId, taskId, tenant, budgetMicroUsd, model, playbook, role } = plan;
    const { socketPath, uid, gid } = place.session;
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
      ...(before === undefined ? {} : { before: before.usage }),
    });
  }

  /** What an agent that outlives this process would have to be judged by is noted before it hears the answer. */
  private judgeAt(plan: SpawnPlan, place: WorkPlace): Judge {
    const { agentId } = plan;
    const note = (changes: Progress, { signal, hold }: Trial): Promise<void> => {
      // Its directory may be going already.
      if (signal.aborted) return Promise.resolve();
      const { trialBytes, earlierTrees } = place;
      const all = { ...changes, trialBytes, earlierTrees: Object.fromEntries(earlierTrees) };
      const noted = this.parts.sessions.amend(agentId, all).catch((error: unknown) => {
        this.parts.logger.error({ err: error, agentId, msg: 'where its submission stands could not be noted' });
      });
      hold(noted);
      return noted;
    };
    return async (submission, trial, submissions) => {
      await note({ stand: standOf(submission), submissions }, trial);
      const answer = await this.parts.judge(plan, place, submission, trial);
      const refused = answer.accepted ? undefined : { code: answer.code, sentence: answer.sentence };
      await note({ refused, ...(isConflict(answer) && { stand: {} }) }, trial);
      return answer;
    };
  }
}

/** Afterwards nothing reads the work tree for a submission. May be repeated. */
export async function closeSockets({ submits, gateway }: Pick<OpenSockets, 'submits' | 'gateway'>): Promise<void> {
  await submits.close();
  await gateway.close();
}

const submitSocketOf = ({ runDirectory }: Session): string => join(runDirectory, 'submit.sock');
