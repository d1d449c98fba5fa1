import type { Logger } from '@capstan/platform';
import { isTerminal } from '@capstan/protocol';
import type { InstanceFiles } from '../config/instance-files.js';
import type { Killswitch } from '../killswitch/killswitch.service.js';
import type { Monitor } from '../monitor/monitor.service.js';
import type { Recovery } from '../spawner/recovery.service.js';
import type { AdoptedAgents } from '../spawner/adopted-agents.js';
import type { AgentStore } from '../valkey/agent.store.js';
import type { AgentQueue } from './agent.queue.js';
import type { AgentWorker } from './agent.worker.js';

const EVERY_MS = 5_000;
const DAY_MS = 86_400_000;
const FORGET_AT_ONCE = 500;

export interface SweepParts {
  store: AgentStore;
  queue: AgentQueue;
  worker: Pick<AgentWorker, 'setConcurrency'>;
  adopted: Pick<AdoptedAgents, 'jobless'>;
  recovery: Recovery;
  killswitch: Pick<Killswitch, 'noticedKillAll'>;
  monitor: Monitor;
  files: InstanceFiles;
  logger: Logger;
  /** How long ended agents are remembered. */
  keepDays: number;
}

/** Repeats what a crash or a lost connection left unfinished; each step may be repeated without harm. */
export class Sweep {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;

  constructor(private readonly parts: SweepParts) {}

  /** Looks at every agent that waits once, then in intervals at what is known to be unfinished. */
  start(): void {
    this.running = this.attempt('queue', async () => this.queueAll(await this.parts.store.live())).finally(
      () => (this.running = undefined),
    );
    this.timer = setInterval(() => {
      this.running ??= this.pass().finally(() => (this.running = undefined));
    }, EVERY_MS);
  }

  /** A round that is under way is left to itself: it may wait for a Valkey that is away. */
  stop(): void {
    clearInterval(this.timer);
  }

  /** One round; never rejects. */
  async pass(): Promise<void> {
    const { store, recovery } = this.parts;
    await this.noticeKillAlls();
    await this.attempt('queue', async () => this.queueAll(await store.unqueued()));
    await this.attempt('recovery', () => recovery.recover());
    await this.attempt('limits', () => this.applyLimits());
    await this.attempt('forget', () => this.forgetOld());
  }

  /** Those of which nobody has told this process, before it began among them. Never rejects. */
  async noticeKillAlls(): Promise<void> {
    await this.attempt('kill-all', () => this.parts.killswitch.noticedKillAll());
  }

  /** How many may start and run, as the owner's policy has it now. */
  async applyLimits(): Promise<void> {
    const { queue, files } = this.parts;
    await this.applyPlaces();
    await queue.limitRate((await files.policy()).spawn.startsPerMinute);
  }

  /** A place that an adopted agent had taken is free: it is not to wait for the next round. Never rejects. */
  async freePlaces(): Promise<void> {
    await this.attempt('places', () => this.applyPlaces());
  }

  private async applyPlaces(): Promise<void> {
    const { worker, adopted, files } = this.parts;
    const { concurrency } = (await files.policy()).spawn;
    worker.setConcurrency(concurrency, adopted.jobless);
  }

  private async queueAll(agents: Awaited<ReturnType<AgentStore['unqueued']>>): Promise<void> {
    const { store, queue } = this.parts;
    for (const agentId of agents) {
      const [agent, plan] = [await store.find(agentId), await store.findPlan(agentId)];
      if (agent?.state === 'queued' && plan !== undefined) await queue.mend(plan);
      if (agent === undefined || agent.state === 'queued' || isTerminal(agent.state)) await store.markQueued(agentId);
    }
  }

  private async forgetOld(): Promise<void> {
    const { store, monitor, keepDays } = this.parts;
    for (const agentId of await store.endedBefore(Date.now() - keepDays * DAY_MS, FORGET_AT_ONCE)) {
      await monitor.forget(agentId);
      await store.forget(agentId);
    }
  }

  private async attempt(step: string, body: () => Promise<void>): Promise<void> {
    try {
      await body();
    } catch (error) {
      this.parts.logger.error({ err: error, step, msg: 'the sweep could not finish a step' });
    }
  }
}
