import { parseValkeyUrl } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { Queue, type ConnectionOptions, type JobsOptions } from 'bullmq';
import type { SpawnPlan } from '../spawner/spawn-plan.js';

/** What is in the queue: only a name. What the agent is to do stands in its record. */
export interface AgentJob {
  agentId: AgentId;
}

export interface QueueCounts {
  pending: number;
  active: number;
  completed: number;
  failed: number;
}

/** The queue as its owner sees it. */
export interface QueueView extends QueueCounts {
  /** Nothing is started until the owner resumes it. */
  paused: boolean;
  /** Agents that may be started within any minute; null without a limit. */
  startsPerMinute: number | null;
}

export const QUEUE_NAME = 'agents';
const HIGHEST_PRIORITY = 10;
const FIRST_RETRY_MS = 500;
const DAY_SECONDS = 86_400;
const MINUTE_MS = 60_000;

/**
 * The queue of agents that wait for their start. A job stays until its agent has ended: a job id that BullMQ has
 * already dropped could be added a second time.
 */
export class AgentQueue {
  private readonly queue: Queue<AgentJob>;

  /** @param keepDays how long the jobs of ended agents are counted. */
  constructor(
    url: string,
    private readonly keepDays: number,
  ) {
    this.queue = new Queue<AgentJob>(QUEUE_NAME, { connection: queueConnection(url) });
    // Without a listener an error event would end the process; a lost connection is seen through the calls that wait.
    this.queue.on('error', () => undefined);
  }

  /** Puts the agent's job into the queue; does nothing where it is already there. */
  async add(plan: SpawnPlan): Promise<void> {
    await this.queue.add('start', { agentId: plan.agentId }, jobOptions(plan, this.keepDays));
  }

  /** Puts in a job that can run, also where the queue holds one of the same agent that no longer can. */
  async mend(plan: SpawnPlan): Promise<void> {
    const job = await this.queue.getJob(jobIdOf(plan.agentId));
    if (job !== undefined && ((await job.isCompleted()) || (await job.isFailed()))) await job.remove();
    await this.add(plan);
  }

  /** Takes out the job of an agent that ended before its start; a job that a worker holds stays. */
  async remove(id: AgentId): Promise<void> {
    await this.queue.remove(jobIdOf(id));
  }

  async counts(): Promise<QueueCounts> {
    const counts = await this.queue.getJobCounts();
    const sum = (...states: string[]): number => states.reduce((total, state) => total + (counts[state] ?? 0), 0);
    return {
      pending: sum('waiting', 'wait', 'paused', 'prioritized', 'delayed', 'waiting-children'),
      active: sum('active'),
      completed: sum('completed'),
      failed: sum('failed'),
    };
  }

  async view(): Promise<QueueView> {
    const [counts, paused, limit] = await Promise.all([
      this.counts(),
      this.queue.isPaused(),
      this.queue.getGlobalRateLimit(),
    ]);
    return { ...counts, paused, startsPerMinute: limit?.max ?? null };
  }

  /** Nothing is started from now on, by whichever process, also after a restart; what runs goes on, and kills work. */
  async pause(): Promise<void> {
    await this.queue.pause();
  }

  async resume(): Promise<void> {
    await this.queue.resume();
  }

  /** @param startsPerMinute agents that may be started within any minute; undefined for no limit. */
  async limitRate(startsPerMinute: number | undefined): Promise<void> {
    const limit = await this.queue.getGlobalRateLimit();
    if ((limit?.max ?? undefined) === startsPerMinute) return;
    if (startsPerMinute === undefined) await this.queue.removeGlobalRateLimit();
    else await this.queue.setGlobalRateLimit(startsPerMinute, MINUTE_MS);
  }

  async close(): Promise<void> {
    await this.queue.close();
    await this.queue.disconnect();
  }
}

/** BullMQ's settings of a connection: commands wait while Valkey is away. */
export function queueConnection(url: string): ConnectionOptions {
  return { ...parseValkeyUrl(url), maxRetriesPerRequest: null };
}

/** BullMQ refuses job ids that are numbers; an agent's id may be one. */
export function jobIdOf(id: AgentId): string {
  return `agent-${id}`;
}

/** In the queue 1 comes first; ours is the other way round, 10 is most urgent. */
export function queuePriority(priority: number): number {
  return HIGHEST_PRIORITY + 1 - priority;
}

function jobOptions(plan: SpawnPlan, keepDays: number): JobsOptions {
  const keep = { age: keepDays * DAY_SECONDS };
  return {
    jobId: jobIdOf(plan.agentId),
    priority: queuePriority(plan.priority),
    attempts: plan.maxRetries + 1,
    backoff: { type: 'exponential', delay: FIRST_RETRY_MS },
    removeOnComplete: keep,
    removeOnFail: keep,
  };
}
