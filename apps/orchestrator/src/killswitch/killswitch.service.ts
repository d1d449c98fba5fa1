import type { AuditLog } from '@capstan/evidence';
import { LocalFault, type Logger, type ReaperClient } from '@capstan/platform';
import {
  stripControl,
  WireFault,
  type AgentId,
  type AgentView,
  type KillOutcomeName,
  type TaskId,
  type TenantId,
} from '@capstan/protocol';
import type { AgentQueue } from '../queue/agent.queue.js';
import type { AgentRun, AgentRuns } from '../spawner/agent-run.js';
import { pushLeft } from '../spawner/push-left.js';
import type { Sessions } from '../spawner/session.js';
import type { Settlement } from '../spawner/settlement.js';
import type { AgentStore } from '../valkey/agent.store.js';
import { epochOf, isMeant, isStopped, type Scope } from './kill-scope.js';
import type { Reaping } from './reaping.js';
import { withinTime } from './within-time.js';

/** What the reaper did, and what has become of the agent so far. */
export interface KillAnswer {
  outcome: KillOutcomeName;
  /** A serialized Envelope signed by the reaper; empty when unconfirmed. */
  observation: Uint8Array;
  /** null where it is unknown here, or Valkey did not answer in time: the kill does not wait for it. */
  agent: AgentView | null;
}

export interface KillTaskAnswer {
  /** False where Valkey did not tell in time who waits: some of the task may start yet, and the order is to be repeated. */
  complete: boolean;
  agents: ({ agentId: AgentId } & KillAnswer)[];
}

export interface KillAllAnswer {
  epoch: bigint;
  agents: { agentId: string; outcome: KillOutcomeName; observation: Uint8Array }[];
}

const KILL_MS = 5_000;
/** The answer waits so long for the state; the state itself is written however long it takes. */
const STATE_MS = 1_500;
/** An audit log that is slow must not keep an agent alive. */
const AUDIT_MS = 50;
const LONGEST_REASON = 500;
/** States that are written at the same time after a kill-all: each waits for Valkey's disk. */
const FOLLOWED_AT_ONCE = 160;

export interface KillswitchParts {
  reaper: ReaperClient;
  reaping: Reaping;
  runs: AgentRuns;
  sessions: Sessions;
  store: AgentStore;
  queue: AgentQueue;
  settlement: Settlement;
  audit: AuditLog;
  logger: Logger;
}

/** Kills: the reaper first, then everything else. Needs neither queue nor Valkey. */
export class Killswitch {
  /** By scope, the kill epoch that the states of agents follow or have followed. */
  private readonly followed = new Map<string, bigint>();

  constructor(private readonly parts: KillswitchParts) {}

  /** @throws LocalFault `reaper-unavailable`, `reaper-silent` */
  async kill(agentId: AgentId, reason: string): Promise<KillAnswer> {
    const { reaper, runs } = this.parts;
    const run = runs.get(agentId);
    run?.intend({ kind: 'killed' });
    await this.auditBefore('agent.kill', agentId, reason);
    const { outcome, observation } = await reaper.kill({ agentId, timeoutMs: KILL_MS }).catch((error: unknown) => {
      // The order stands although nobody can be told how it ends.
      void this.follow(agentId, 'unconfirmed');
      throw error;
    });
    this.auditAfter(agentId, outcome);
    const done = this.follow(agentId, outcome);
    const agent = await withinTime(STATE_MS, done, undefined);
    return { outcome, observation, agent: agent ?? null };
  }

  /**
   * Raises the kill epoch of the instance, or of one tenant here; kills what lives in it, and lets nothing start that was
   * admitted before.
   */
  async killAll(reason: string, tenant?: TenantId): Promise<KillAllAnswer> {
    const scope: OwnScope =
      tenant === undefined ? { scope: 'instance', scopeId: '' } : { scope: 'tenant', scopeId: tenant };
    // Work that is being taken in has no process any more that the reaper could kill: it is told by its run.
    const runs = this.runsIn(scope);
    for (const run of runs) run.intend({ kind: 'killed' });
    await this.auditBefore('agent.kill-all', tenant === undefined ? 'instance' : `tenant ${tenant}`, reason);
    const result = await this.raiseAndKill(scope).catch((error: unknown) => {
      // The order stands for those that run, although nobody can be told how it ends.
      for (const run of runs) run.stop({ kind: 'killed' });
      throw error;
    });
    for (const { agentId, outcome } of result.agents) this.auditAfter(agentId, outcome);
    this.followOnce(scope, result.epoch);
    return result;
  }

  /** Kills every agent of a task: those that run here or are on disk at once, then the waiting ones that Valkey tells in time. */
  async killTask(taskId: TaskId, reason: string): Promise<KillTaskAnswer> {
    const { runs, sessions, store } = this.parts;
    const stored = withinTime(STATE_MS, store.liveOfTask(taskId), undefined).catch(() => undefined);
    const killed = new Map<AgentId, Promise<{ agentId: AgentId } & KillAnswer>>();
    const kill = (agents: readonly AgentId[]): void => {
      for (const agentId of agents) {
        if (killed.has(agentId)) continue;
        const death = this.kill(agentId, reason).then((answer) => ({ agentId, ...answer }));
        // It is awaited below; until then a fault of one must not be nobody's.
        death.catch(() => undefined);
        killed.set(agentId, death);
      }
    };
    const running = (): AgentId[] =>
      runs.all().flatMap(({ agentId, plan }) => (plan?.taskId === taskId ? [agentId] : []));
    kill(running());
    kill(await sessions.ofTask(taskId));
    const waiting = await stored;
    // Some of them may have been claimed meanwhile.
    kill([...(waiting ?? []), ...running()]);
    return { complete: waiting !== undefined, agents: await Promise.all(killed.values()) };
  }

  /** The owner's word that agents may be started again after a kill-all. */
  async rearm(tenant?: TenantId): Promise<void> {
    const { reaper, audit } = this.parts;
    await reaper.rearm(tenant === undefined ? { scope: 'instance' } : { scope: 'tenant', scopeId: tenant });
    await audit.append({
      kind: 'agent.rearm',
      subject: tenant === undefined ? 'instance' : `tenant ${tenant}`,
      detail: {},
    });
  }

  /** The spoke has killed the agent through the reaper: whatever the reaper confirms becomes the agent's state. */
  async noticed(agentId: AgentId): Promise<AgentView | undefined> {
    const { reaper, runs, store } = this.parts;
    runs.get(agentId)?.intend({ kind: 'killed' });
    // It may have been one of many.
    this.tellRuns().catch((error: unknown) => {
      this.parts.logger.error({ err: error, msg: 'the reaper does not say what was stopped' });
    });
    const seen = await reaper.observe(agentId, STATE_MS).catch((error: unknown) => {
      // It was never registered: then there is neither a death nor a tombstone.
      if (error instanceof LocalFault && error.code === 'reaper-malformed') return undefined;
      throw error;
    });
    if (seen === undefined) return withinTime(STATE_MS, store.find(agentId), undefined);
    return withinTime(STATE_MS, this.follow(agentId, seen.outcome), undefined);
  }

  /**
   * Somebody may have raised kill epochs at the reaper: whoever was admitted before is not wanted any more. Resolves once
   * the runs know it, so that what they push is broken off; the states follow, and who waits leaves the queue. Where no
   * epoch was raised since the last time, nothing happens: it is called again and again, for what nobody has told.
   *
   * @throws LocalFault `reaper-unavailable`, `reaper-silent`
   */
  async noticedKillAll(): Promise<void> {
    for (const { epoch, ...scope } of await this.tellRuns()) this.followOnce(scope, epoch);
  }

  /** Those that run and were admitted before the reaper's present kill epochs end. @returns these epochs. */
  private async tellRuns(): Promise<(Scope & { epoch: bigint })[]> {
    const { killEpochs } = await this.parts.reaper.describe();
    for (const { epoch, ...scope } of killEpochs) this.intendAdmittedBefore(scope, epoch);
    return killEpochs.map(({ scope, scopeId, epoch }) => ({ scope, scopeId, epoch }));
  }

  private intendAdmittedBefore(scope: Scope, epoch: bigint): void {
    for (const run of this.parts.runs.all())
      if (run.plan !== undefined && isStopped(run.plan, [{ ...scope, epoch }])) run.intend({ kind: 'killed' });
  }

  private runsIn(scope: Scope): AgentRun[] {
    return this.parts.runs.all().filter(({ plan }) => isMeant(scope, plan));
  }

  /** Makes the state and the disk follow what the reaper did; goes on for as long as that takes. */
  private follow(agentId: AgentId, outcome: KillOutcomeName): Promise<AgentView | undefined> {
    const followed = this.followOne(agentId, outcome);
    followed.catch((error: unknown) => {
      this.parts.logger.error({ err: error, agentId, msg: 'the state after a kill is not written yet' });
    });
    return followed;
  }

  private async followOne(agentId: AgentId, outcome: KillOutcomeName): Promise<AgentView | undefined> {
    const { reaping, runs, store, queue, settlement } = this.parts;
    if (outcome === 'unconfirmed') await reaping.kill(agentId);
    const run = runs.get(agentId);
    if (run !== undefined) {
      // It may have begun since the order came.
      run.intend({ kind: 'killed' });
      await run.settled;
      return store.find(agentId);
    }
    const agent = await settlement.settle(agentId, { state: 'killed', ...(await pushLeft(this.parts, agentId)) });
    await queue.remove(agentId).catch(() => undefined);
    return agent;
  }

  /** Each epoch once; what goes wrong is done again when somebody asks the next time. */
  private followOnce(scope: Scope, epoch: bigint): void {
    const key = `${scope.scope} ${scope.scopeId}`;
    if ((this.followed.get(key) ?? 0n) >= epoch) return;
    this.followed.set(key, epoch);
    this.followAll(scope, epoch).catch((error: unknown) => {
      this.followed.delete(key);
      this.parts.logger.error({ err: error, msg: 'the states after a kill-all are not all written yet' });
    });
  }

  /**
   * Those that wait can never start again: the reaper refuses what was admitted under an older epoch. Whoever was
   * admitted since, because the owner has re-armed already, is left alone.
   */
  private async followAll(scope: Scope, epoch: bigint): Promise<void> {
    const { runs, store } = this.parts;
    this.intendAdmittedBefore(scope, epoch);
    const left = (await store.live()).values();
    const lane = async (): Promise<void> => {
      for (const agentId of left) {
        const plan = await store.findPlan(agentId);
        if (plan === undefined || !isStopped(plan, [{ ...scope, epoch }])) continue;
        runs.get(agentId)?.intend({ kind: 'killed' });
        await this.followOne(agentId, 'killed');
      }
    };
    // One that runs holds its lane until it is dead and its state is written; at most 128 run.
    await Promise.all(Array.from({ length: FOLLOWED_AT_ONCE }, lane));
  }

  private async raiseAndKill(scope: OwnScope): Promise<KillAllAnswer> {
    const { reaper } = this.parts;
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const { killEpochs } = await reaper.describe();
      const current = epochOf(scope, killEpochs);
      const result = await reaper.killAll({ ...scope, epoch: current + 1n, timeoutMs: KILL_MS });
      // Somebody else may have raised it meanwhile.
      if (result.ok) return { epoch: result.epoch, agents: result.agents };
    }
    throw new WireFault('kill-epoch');
  }

  private async auditBefore(kind: string, subject: string, reason: string): Promise<void> {
    const text = stripControl(reason).slice(0, LONGEST_REASON);
    const written = this.parts.audit.append({ kind, subject, detail: { reason: text } });
    written.catch((error: unknown) => this.unaudited(error, kind));
    const inTime = await withinTime(
      AUDIT_MS,
      written.then(
        () => true,
        () => true,
      ),
      false,
    );
    if (!inTime) this.append(`${kind}.late`, subject, {});
  }

  private auditAfter(agentId: string, outcome: KillOutcomeName): void {
    this.append('agent.kill-outcome', agentId, { outcome });
  }

  private append(kind: string, subject: string, detail: Record<string, string>): void {
    this.parts.audit.append({ kind, subject, detail }).catch((error: unknown) => this.unaudited(error, kind));
  }

  private unaudited(error: unknown, kind: string): void {
    this.parts.logger.error({ err: error, kind, msg: 'the audit log cannot be written' });
  }
}

/** What the owner stops. */
interface OwnScope extends Scope {
  scope: 'instance' | 'tenant';
}
