import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
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

  /** Says that the reaper was told to kill this agent. */
  noticeKill(agentId: string): Promise<unknown> {
    return this.call('POST', `/agents/${agentId}/noticed-kill`);
  }

  /** Kills every agent of a task, those that wait included. */
  async killTask(taskId: string): Promise<{ agentId: string; outcome: string }[]> {
    const { agents } = await this.call<{ agents: { agentId: string; outcome: string }[] }>(
      'POST',
      `/tasks/${taskId}/kill`,
    );
    return agents;
  }

  private async call<T>(method: 'GET' | 'POST', path: string): Promise<T> {
    const { status, body } = await this.ask(method, path);
    const answer = JSON.parse(body) as unknown;
    if (status >= 400) throw problemOf(status, answer);
    return answer as T;
  }

  private async ask(method: 'GET' | 'POST', path: string): Promise<{ status: number; body: string }> {
    try {
      const token = (await readFile(join(this.dir, 'tokens', 'orchestrator.token'), 'utf8')).trim();
      const socketPath = join(this.dir, 'run', 'orchestrator.sock');
      return await requestOnSocket({ socketPath, method, path, token, timeoutMs: this.answerMs });
    } catch (cause) {
      const what = `The orchestrator of the instance in ${this.dir} does not answer.`;
      throw new LocalFault('orchestrator-away', what, undefined, { cause });
    }
  }
}
