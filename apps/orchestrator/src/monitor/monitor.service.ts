import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { AgentLog, removeLog, type LogPageView } from './agent-log.js';

/** The logs of all agents: of the running ones from memory, of the others from their files. */
export class Monitor {
  private readonly open = new Map<AgentId, AgentLog>();

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
    this.open.set(id, log);
    return log;
  }

  /** The agent has ended: its log is read from the file from now on. */
  async end(id: AgentId): Promise<void> {
    await this.open.get(id)?.close();
    this.open.delete(id);
  }

  /** @param after sequence of the last line that was seen, 0 for the beginning. */
  async page(id: AgentId, after: number, limit: number): Promise<LogPageView> {
    return (this.open.get(id) ?? (await this.load(id))).page(after, limit);
  }

  async forget(id: AgentId): Promise<void> {
    await removeLog(this.fileOf(id));
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
