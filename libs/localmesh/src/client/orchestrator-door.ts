import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AgentView, LocalFault } from '@capstan/protocol';
import { problemOf } from './hub-client.js';
import { requestOnSocket } from './local-http.js';

const ANSWER_MS = 10_000;

/** The queue of an instance as its orchestrator tells the owner. */
export interface QueueView {
  pending: number;
  active: number;
  completed: number;
  failed: number;
  paused: boolean;
  startsPerMinute: number | null;
}

/** The owner's door to the orchestrator of an instance on this machine. Throws HubProblem, or LocalFault `orchestrator-away`. */
export class OrchestratorDoor {
  /** @param dir the instance's directory. @param answerMs for how long an answer is awaited. */
  constructor(
    private readonly dir: string,
    private readonly answerMs = ANSWER_MS,
  ) {}

  queue(): Promise<QueueView> {
    return this.call('GET', '/queue');
  }
  moveQueue(verb: 'pause' | 'resume'): Promise<QueueView> {
    return this.call('POST', `/queue/${verb}`);
  }

  /** Says that the reaper was told to kill this agent. @returns null where the orchestrator does not know it, or not in time. */
  async noticeKill(agentId: string): Promise<AgentView | null> {
    return (await this.call<{ agent: AgentView | null }>('POST', `/agents/${agentId}/noticed-kill`)).agent;
  }

  /** Says that the reaper was told to kill everything of a scope. */
  async noticeKillAll(): Promise<void> {
    await this.call('POST', '/agents/noticed-kill-all');
  }

  /** Kills every agent of a task, those that wait included, unless it is not `complete`. */
  killTask(taskId: string): Promise<{ complete: boolean; agents: { agentId: string; outcome: string }[] }> {
    return this.call('POST', `/tasks/${taskId}/kill`);
  }

  /** Tells a running agent something, which it takes up before it asks its model again. @returns the message's id */
  async message(agentId: string, text: string): Promise<string> {
    return (await this.call<{ messageId: string }>('POST', `/agents/${agentId}/messages`, { text })).messageId;
  }

  private async call<T>(method: 'GET' | 'POST', path: string, sent?: object): Promise<T> {
    const { status, body } = await this.ask(method, path, sent);
    const answer = body === '' ? undefined : (JSON.parse(body) as unknown);
    if (status >= 400) throw problemOf(status, answer);
    return answer as T;
  }

  private async ask(method: 'GET' | 'POST', path: string, sent?: object): Promise<{ status: number; body: string }> {
    try {
      const token = (await readFile(join(this.dir, 'tokens', 'orchestrator.token'), 'utf8')).trim();
      const socketPath = join(this.dir, 'run', 'orchestrator.sock');
      const body = sent === undefined ? {} : { body: sent };
      return await requestOnSocket({ socketPath, method, path, token, ...body, timeoutMs: this.answerMs });
    } catch (cause) {
      const what = `The orchestrator of the instance in ${this.dir} does not answer.`;
      throw new LocalFault('orchestrator-away', what, undefined, { cause });
    }
  }
}
