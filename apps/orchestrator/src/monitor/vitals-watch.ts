import type { Logger, StallPolicy } from '@capstan/platform';
import type { AgentId, VitalsView } from '@capstan/protocol';
import { resourceUse, type KillHandle } from '@capstan/sandbox';
import type { AgentRun } from '../spawner/agent-run.js';
import type { AgentLog } from './agent-log.js';
import { steadyNow } from './steady-time.js';
import { Vitals, type Sample, type StallNotice } from './vitals.js';

const SAMPLE_MS = 2_000;

interface Watched {
  run: AgentRun;
  handle: KillHandle;
  log: AgentLog;
  vitals: Vitals;
}

export interface VitalsParts {
  /** What the owner wants to follow from a stall, asked at each look. */
  policy: () => Promise<StallPolicy | undefined>;
  /** Tells the world; may fail. */
  notify: (notice: StallNotice) => Promise<void>;
  logger: Logger;
  sampleMs?: number;
}

/** Looks at every running agent in intervals: what it uses, and whether it still does something. Asks the agent nothing. */
export class VitalsWatch {
  private readonly watched = new Map<AgentId, Watched>();
  private timer: NodeJS.Timeout | undefined;
  private isLooking = false;

  constructor(private readonly parts: VitalsParts) {}

  /** Watches an agent until this is disposed. */
  watch(run: AgentRun, handle: KillHandle, log: AgentLog): Disposable {
    const { agentId } = run;
    const watched = { run, handle, log, vitals: new Vitals(agentId) };
    this.watched.set(agentId, watched);
    this.sample(watched);
    this.timer ??= setInterval(() => void this.look(), this.parts.sampleMs ?? SAMPLE_MS);
    return { [Symbol.dispose]: () => this.forget(agentId) };
  }

  /** Undefined where the agent does not run here. */
  of(agentId: string): VitalsView | undefined {
    const watched = this.watched.get(agentId as AgentId);
    return watched?.vitals.view(watched.run.progressAtMs);
  }

  /** The last samples of an agent that runs here, the oldest first. */
  samplesOf(agentId: string): readonly Sample[] {
    return this.watched.get(agentId as AgentId)?.vitals.all() ?? [];
  }

  /** Never rejects. */
  private async look(): Promise<void> {
    if (this.isLooking) return;
    this.isLooking = true;
    try {
      const policy = await this.policy();
      for (const watched of [...this.watched.values()]) this.lookAt(watched, policy);
    } finally {
      this.isLooking = false;
    }
  }

  private async policy(): Promise<StallPolicy | undefined> {
    try {
      return await this.parts.policy();
    } catch (error) {
      this.parts.logger.warn({ err: error, msg: 'what to do about stalled agents cannot be read' });
      return undefined;
    }
  }

  /** Never throws: what goes wrong with one agent keeps nobody from looking at the others, and at it again. */
  private lookAt(watched: Watched, policy: StallPolicy | undefined): void {
    const { run, vitals } = watched;
    this.sample(watched);
    try {
      const notice = vitals.judge(policy, run.progressAtMs, steadyNow());
      if (notice !== undefined) this.act(watched, notice);
    } catch (error) {
      this.parts.logger.error({ err: error, agentId: run.agentId, msg: 'the agent cannot be watched' });
    }
  }

  private sample({ run, handle, vitals }: Watched): void {
    try {
      const use = resourceUse(handle);
      if (use !== undefined) vitals.add({ ...use, atMs: steadyNow() });
    } catch (error) {
      this.parts.logger.warn({ err: error, agentId: run.agentId, msg: 'what the agent uses cannot be read' });
    }
  }

  private act(watched: Watched, notice: StallNotice): void {
    const { run } = watched;
    try {
      this.tell(watched, notice);
    } finally {
      // It is judged once: what cannot be told must happen all the same.
      if (notice.action === 'kill') run.stop({ kind: 'limit', code: 'agent-stalled' });
    }
  }

  private tell({ run: { agentId }, log }: Watched, notice: StallNotice): void {
    const { logger, notify } = this.parts;
    logger.warn({ ...notice, msg: notice.stalled ? 'the agent has stalled' : 'the agent goes on' });
    log.append('system', notice.stalled ? `Stalled: ${notice.reason}` : 'It goes on.');
    notify(notice).catch((error: unknown) => {
      logger.error({ err: error, agentId, msg: 'a stall could not be told' });
    });
  }

  private forget(agentId: AgentId): void {
    this.watched.delete(agentId);
    if (this.watched.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
