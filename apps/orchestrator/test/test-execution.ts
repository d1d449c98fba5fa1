import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createLogger } from '@capstan/platform';
import { agentId, type AgentId, type AgentStateName, type AgentView } from '@capstan/protocol';
import { git, TestRepository } from '../../../test/support/repository.js';
import { until } from '../../../test/support/until.js';
import { loadSettings, type Settings } from '../src/config/settings.js';
import { Orchestrator } from '../src/orchestrator.js';
import type { AgentEvent, AgentEventKind } from '../src/valkey/agent.events.js';
import { SCAN_FROM_SOURCE } from './scan-program.js';
import { TestInstance, type SpawnInit } from './test-instance.js';
import type { TestSandbox } from './test-sandbox.js';

const logger = createLogger('test', { level: 'silent' });
const PATIENCE_MS = 120_000;

/** A whole orchestrator in this process: real Valkey, reaper, sandboxes, gateway (scripted) and a bare remote. */
export class TestExecution implements AsyncDisposable {
  private constructor(
    readonly instance: TestInstance,
    readonly checkout: TestRepository,
    readonly remote: string,
    readonly settings: Settings,
    public orchestrator: Orchestrator,
    private readonly held: AsyncDisposable,
  ) {}

  /**
   * @param agentFile program that runs as the agent. @param playbooks directory of further playbooks
   * @param provider default: scripted. @param docker daemon that runs the agents; default: bubblewrap does
   */
  static async start(
    agentFile: string,
    playbooks?: string,
    provider?: Settings['provider'],
    docker?: Settings['docker'],
  ): Promise<TestExecution> {
    await using held = new AsyncDisposableStack();
    const instance = held.use(await TestInstance.start());
    const { directory, valkey } = instance;
    const checkout = held.use(new TestRepository());
    const remote = join(directory, 'remote.git');
    git(directory, 'clone', '--quiet', '--bare', checkout.path, remote);
    await instance.writePolicy({ repositories: [`${directory}/*`], concurrency: 2, sandboxes: sandboxesOf(docker) });
    const runtimeDir = join(directory, 'runtime');
    await mkdir(runtimeDir, { mode: 0o755 });
    await copyFile(process.execPath, join(runtimeDir, 'node'));
    await copyFile(agentFile, join(runtimeDir, 'agent.mjs'));
    const loaded = loadSettings({
      CAPSTAN_INSTANCE_DIR: directory,
      CAPSTAN_VALKEY_URL: valkey.url,
      CAPSTAN_RUNTIME_DIR: runtimeDir,
    });
    const scripted = { name: 'scripted' as const, ...(playbooks === undefined ? {} : { playbooks }) };
    const settings = { ...loaded, provider: provider ?? scripted, docker };
    const orchestrator = await begin(settings);
    return new TestExecution(instance, checkout, remote, settings, orchestrator, held.move());
  }

  get store(): Orchestrator['api']['store'] {
    return this.orchestrator.api.store;
  }

  /**
   * @param graceful false: as after a crash, the runs are not told. @param meanwhile while nobody runs.
   * @param changes what the next life is told otherwise
   */
  async restart(
    graceful: boolean,
    meanwhile: () => Promise<void> = async () => undefined,
    changes: Partial<Settings> = {},
  ): Promise<void> {
    if (graceful) await this.orchestrator.drain();
    await this.orchestrator.close();
    await meanwhile();
    this.orchestrator = await begin({ ...this.settings, ...changes });
  }

  /** A signed spawn on the remote. @param workItem what the test's agent does. */
  async spawn(workItem: string, over: Partial<SpawnInit> = {}): Promise<AgentId> {
    const context = { repository: this.remote, workItems: [workItem] };
    const bytes = this.instance.signedSpawn({ context, ...over });
    return agentId((await this.orchestrator.api.admission.takeCommand(bytes)).agentId);
  }

  /** Waits for one of the states; an end that is none of them is an error at once. */
  agentIn(id: AgentId, ...states: AgentStateName[]): Promise<AgentView> {
    const look = async (): Promise<AgentView | undefined> => {
      const agent = await this.store.find(id);
      if (agent === undefined || states.includes(agent.state)) return agent;
      if (['completed', 'failed', 'killed'].includes(agent.state)) throw new Error(JSON.stringify(agent));
      return undefined;
    };
    // A program of many megabytes in a container takes its time on a busy machine.
    return until(`agent ${id} is ${states.join(' or ')}`, look, PATIENCE_MS);
  }

  /** All that was told of an agent, up to the first event of a kind. @throws Error where that is not told in time */
  async toldOf(id: AgentId, last: AgentEventKind): Promise<AgentEvent[]> {
    const told: AgentEvent[] = [];
    for await (const event of this.orchestrator.api.events.read('0', AbortSignal.timeout(PATIENCE_MS))) {
      if (event.kind === 'gap' || !event.json.includes(id)) continue;
      told.push(event);
      if (event.kind === last) return told;
    }
    const kinds = told.map(({ kind }) => kind).join(', ');
    throw new Error(`waited ${String(PATIENCE_MS / 1000)} s in vain until "${last}" is told of agent ${id}: ${kinds}`);
  }

  /** Waits until nothing is left of any agent: to be cleaned up, as a directory, or in the sandbox. */
  async isClean(sandbox: TestSandbox): Promise<void> {
    const { agents } = this.settings.paths;
    const left = async (): Promise<string[]> => [...(await this.store.untidy()), ...(await readdir(agents))];
    await until('all is clean', async () => (await left()).length === 0, PATIENCE_MS);
    await sandbox.nothingIsLeft();
  }

  async textOf(id: AgentId): Promise<string> {
    const { lines } = await this.orchestrator.api.monitor.page(id, 0, 5000);
    return lines.map((line) => line.text).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using _held = this.held;
    await this.orchestrator.drain();
    await this.orchestrator.close();
  }
}

/** Names of the drivers, the one that runs the agents first. */
export function sandboxesOf(docker: Settings['docker']): string[] {
  return docker === undefined ? ['bubblewrap'] : ['docker', 'bubblewrap'];
}

async function begin(settings: Settings): Promise<Orchestrator> {
  const orchestrator = await Orchestrator.open(settings, logger, { program: SCAN_FROM_SOURCE });
  try {
    await orchestrator.begin();
    return orchestrator;
  } catch (error) {
    await orchestrator.close();
    throw error;
  }
}
