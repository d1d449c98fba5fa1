import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { AgentLog, removeLog, type LogPageView } from './agent-log.js';

/** The logs of all agents: of the running ones from memory, of the others from their files. */
export class Monitor {
  private readonly open = new Map<AgentId, AgentLog>();
  /** Readers that wait for a line, by agent. */
  private readonly waiting = new Map<AgentId, Set<() => void>>();

  private constructor(
    private readonly directory: string,
    private readonly logger: Logger,
  ) {}

  /** @param directory for the files, made where it is missing. */
  static async start(directory: string, logger: Logger): Promise<Monitor> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new Monitor(directory, logger);
  }

  /** The log of an agent that is being started; goes on where an earlier attempt ended. */
  async begin(id: AgentId): Promise<AgentLog> {
    const log = this.open.get(id) ?? (await this.load(id));
    log.onAppend = () => this.wake(id);
    this.open.set(id, log);
    return log;
  }

  /** Adds somebody's words to the log of an agent that runs; of any other they are dropped. @param mark whose they are */
  quote(id: AgentId, mark: string, text: string): void {
    this.open.get(id)?.quote(mark, text);
  }

  /** The agent has ended: its log is read from the file from now on. */
  async end(id: AgentId): Promise<void> {
    await this.open.get(id)?.close();
    this.open.delete(id);
  }

  /** @param after sequence of the last line that was seen, 0 for the beginning. */
  async page(id: AgentId, after: number, limit: number, mostBytes?: number): Promise<LogPageView> {
    return (this.open.get(id) ?? (await this.load(id))).page(after, limit, mostBytes);
  }

  /** As `page`; where there is no line yet, waits until there is one, at most until `signal` is aborted. */
  async nextPage(
    id: AgentId,
    after: number,
    { limit, mostBytes }: { limit: number; mostBytes: number },
    signal: AbortSignal,
  ): Promise<LogPageView> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.waiting.get(id) ?? new Set();
    this.waiting.set(id, waiting.add(resolve));
    signal.addEventListener('abort', () => resolve(), { once: true });
    try {
      // Looked at once the wait has begun: a line in between is not missed.
      const page = await this.page(id, after, limit, mostBytes);
      if (page.lines.length > 0 || signal.aborted) return page;
      await promise;
      return await this.page(id, after, limit, mostBytes);
    } finally {
      waiting.delete(resolve);
      if (waiting.size === 0 && this.waiting.get(id) === waiting) this.waiting.delete(id);
    }
  }

  async forget(id: AgentId): Promise<void> {
    await removeLog(this.fileOf(id));
  }

  private wake(id: AgentId): void {
    for (const resolve of this.waiting.get(id) ?? []) resolve();
  }

  private load(id: AgentId): Promise<AgentLog> {
    return AgentLog.open(this.fileOf(id), (error) => {
      this.logger.error({ err: error, agentId: id, msg: "the agent's log cannot be written" });
    });
  }

  private fileOf(id: AgentId): string {
    return join(this.directory, `${id}.jsonl`);
  }
}
