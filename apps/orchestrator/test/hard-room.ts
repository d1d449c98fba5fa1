import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentId, AgentView } from '@capstan/protocol';
import { git, type TestRepository } from '../../../test/support/repository.js';
import { until } from '../../../test/support/until.js';
import { TestExecution } from './test-execution.js';
import type { SpawnInit } from './test-instance.js';
import type { TestSandbox } from './test-sandbox.js';

const TEST_AGENT = join(__dirname, 'test-agent.mjs');

/** Agents on repositories that a test makes as hard for them as it wants. */
export class HardRoom implements AsyncDisposable {
  private count = 0;

  private constructor(readonly execution: TestExecution) {}

  static async start(sandbox: TestSandbox): Promise<HardRoom> {
    return new HardRoom(await TestExecution.start(TEST_AGENT, undefined, undefined, sandbox.docker()));
  }

  /** A bare remote with what the source has now. */
  remoteOf(source: TestRepository): string {
    this.count += 1;
    const remote = join(this.execution.instance.directory, `hard-${String(this.count)}.git`);
    git(source.path, 'clone', '--quiet', '--bare', source.path, remote);
    mkdirSync(join(remote, 'hooks'), { recursive: true });
    return remote;
  }

  /** @param behaviour what the test's agent does */
  spawn(
    repository: string,
    behaviour: string,
    over: Pick<SpawnInit, 'options'> & { branch?: string } = {},
  ): Promise<AgentId> {
    const { branch = '', ...order } = over;
    return this.execution.spawn(behaviour, { context: { repository, workItems: [behaviour], branch }, ...order });
  }

  /** Waits until the agent has failed. */
  async failed(id: AgentId): Promise<AgentView['error']> {
    return (await this.execution.agentIn(id, 'failed')).error;
  }

  /** Waits until the agent's unfinished work is saved, and its log says so. @returns content of a file of it */
  async salvaged(id: AgentId, path: string): Promise<string> {
    const ref = `refs/capstan/salvage/${id}`;
    const { repositories } = this.execution.settings.paths;
    const held = await until('its work is saved', () => repositoriesWith(repositories, ref)[0], 120_000);
    await until('its log says so', async () => (await this.execution.textOf(id)).includes(ref) || undefined, 120_000);
    return git(held, 'show', `${ref}:${path}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.execution[Symbol.asyncDispose]();
  }
}

/** Repositories below a directory that have a ref. */
export function repositoriesWith(directory: string, ref: string): string[] {
  return (
    readdirSync(directory)
      // One that is being made has another name.
      .filter((name) => /\.(?:git|salvage)$/.test(name))
      .map((name) => join(directory, name))
      .filter((repository) => git(repository, 'for-each-ref', ref) !== '')
  );
}
