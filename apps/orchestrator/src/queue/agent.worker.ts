import type { Logger } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { UnrecoverableError, Worker } from 'bullmq';
import { QUEUE_NAME, queueConnection, type AgentJob } from './agent.queue.js';

/** How one start ended, as far as the queue is concerned. */
export type JobEnd =
  /** The agent has completed. */
  | { kind: 'completed' }
  /** The agent failed, was killed, or is not to be started at all; the queue must not try again. */
  | { kind: 'failed'; code: string }
  /** It failed before GO and is queued again: the queue tries later. */
  | { kind: 'retry'; code: string };

/** A crashed worker's job is taken up again after this silence; the agent's state decides what happens then. */
const LOCK = { lockMs: 10_000, checkMs: 5_000 };
/** Never give up on a job by counting crashes: the agent's state says whether there is something left to do. */
const MOST_STALLS = 1_000_000;
/** Agents that the reaper's register holds; one more could not be given GO. */
const MOST_AT_ONCE = 128;

/** Takes jobs in the order of their priority, so many at a time; each lasts until its agent has ended. */
export class AgentWorker {
  private readonly worker: Worker<AgentJob>;
  private isTaking = false;
  private hasPlace = true;

  constructor(
    url: string,
    concurrency: number,
    start: (id: AgentId) => Promise<JobEnd>,
    logger: Logger,
    { lockMs, checkMs } = LOCK,
  ) {
    const work = async ({ data }: { data: AgentJob }): Promise<void> => {
      const end = await start(data.agentId);
      if (end.kind === 'failed') throw new UnrecoverableError(end.code);
      if (end.kind === 'retry') throw new Error(end.code);
    };
    this.worker = new Worker<AgentJob>(QUEUE_NAME, work, {
      connection: queueConnection(url),
      concurrency: withinReach(concurrency),
      autorun: false,
      lockDuration: lockMs,
      stalledInterval: checkMs,
      maxStalledCount: MOST_STALLS,
    });
    this.worker.on('error', (error) => {
      logger.warn({ err: error, msg: 'the queue is not reached' });
    });
  }

  /** Starts to take jobs. */
  start(): void {
    this.isTaking = true;
    this.takeOrWait();
  }

  /** @param elsewhere agents that run and whose jobs it does not hold: each of them takes a place. */
  setConcurrency(concurrency: number, elsewhere = 0): void {
    const wanted = withinReach(concurrency) - elsewhere;
    this.hasPlace = wanted > 0;
    if (this.hasPlace && this.worker.concurrency !== wanted) this.worker.concurrency = wanted;
    this.takeOrWait();
  }

  /** Takes no further job, at once and whether or not Valkey answers. */
  async stopTaking(): Promise<void> {
    this.isTaking = false;
    await this.worker.pause(true);
  }

  /** Lets go of the jobs that it holds: their agents are no longer its business. */
  async close(): Promise<void> {
    this.isTaking = false;
    await this.worker.close(true);
  }

  /** Its faults arrive as error events. */
  private takeOrWait(): void {
    if (!this.isTaking) return;
    const { worker, hasPlace } = this;
    const ignore = (): void => undefined;
    if (!hasPlace) worker.pause(true).catch(ignore);
    else if (worker.isPaused()) worker.resume().catch(ignore);
    // Until close().
    else if (!worker.isRunning()) worker.run().catch(ignore);
  }
}

function withinReach(concurrency: number): number {
  return Math.min(Math.max(1, concurrency), MOST_AT_ONCE);
}
