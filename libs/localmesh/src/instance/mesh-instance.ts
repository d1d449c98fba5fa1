import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { LocalFault, stripControl } from '@capstan/protocol';
import { requestOnSocket } from '../client/local-http.js';
import type { MeshHub } from '../hub/mesh-hub.js';
import type { InstancePolicy, MeshModel, MeshOptions } from '../mesh-options.js';
import type { ProcessRegister } from '../process/process-register.js';
import { runRegistered } from '../process/run-registered.js';
import { type ProcessSpec, SupervisedProcess } from '../process/supervised-process.js';
import { builtFile, pinnedNode } from '../state/checkout.js';
import type { InstanceValkey } from '../valkey/valkey.js';
import type { HubPorts } from './hub-ports.js';
import { isJoined, noteHubPorts, prepareInstanceDir } from './instance-files.js';

/** MiB. These parts mostly wait; with V8's default of 16 the young space alone would take most of their memory. */
const SMALL_YOUNG_SPACE = '--max-semi-space-size=8';
const JOIN_MS = 20_000;
const TERMINAL = new Set(['completed', 'failed', 'killed']);

export interface MeshInstanceOptions {
  id: string;
  dir: string;
  logDir: string;
  policy: Partial<InstancePolicy>;
  model: MeshModel;
  runtimeDir: string;
  sandbox: NonNullable<MeshOptions['sandbox']>;
  env: Readonly<Record<string, string>>;
  register: ProcessRegister;
  onRestart?: (name: string) => void;
}

/** One instance of the mesh: its reaper, orchestrator and spoke, each a process of its own. */
export class MeshInstance {
  readonly id: string;
  readonly dir: string;
  readonly orchestratorSocket: string;
  readonly reaper: SupervisedProcess;
  private parts: { orchestrator: SupervisedProcess; spoke: SupervisedProcess } | undefined;

  private constructor(private readonly options: MeshInstanceOptions) {
    this.id = options.id;
    this.dir = options.dir;
    this.orchestratorSocket = join(options.dir, 'run', 'orchestrator.sock');
    this.reaper = this.process('reaper', {
      args: [builtFile('apps/orchestrator/src/reaper/main.js')],
      isReady: () => answers(join(options.dir, 'run', 'reaper.sock')),
    });
  }

  static async prepare(options: MeshInstanceOptions): Promise<MeshInstance> {
    await prepareInstanceDir(options.dir, options.policy);
    return new MeshInstance(options);
  }

  get isJoined(): boolean {
    return isJoined(this.dir);
  }

  get orchestrator(): SupervisedProcess {
    return this.started().orchestrator;
  }

  get spoke(): SupervisedProcess {
    return this.started().spoke;
  }

  /** Enrols with the hub, once: an invitation, the spoke's own join, approved by the token. @throws LocalFault `join-failed` */
  async join(hub: MeshHub): Promise<void> {
    const { invite } = await hub.client.invite({ autoApprove: true, ttlSeconds: 300, displayName: this.id });
    try {
      const args = [builtFile('apps/spoke/src/join.js'), this.dir, invite, this.id];
      await runRegistered(this.options.register, `${this.id}/join`, pinnedNode(), args, {
        cwd: this.dir,
        env: { ...this.options.env, CAPSTAN_INSTANCE_DIR: this.dir },
        timeout: JOIN_MS,
      });
    } catch (error) {
      const { stderr, stdout } = error as { stderr?: string; stdout?: string };
      const words = stripControl(`${stderr ?? ''}${stdout ?? ''}`).trim();
      throw new LocalFault('join-failed', `${this.id} could not enrol with the hub.`, words, { cause: error });
    }
  }

  /** The one address that the spoke dials from its next start on. @throws LocalFault `instance-malformed` */
  noteHubPort(port: number): Promise<void> {
    return noteHubPorts(this.dir, [port]);
  }

  /** As `noteHubPort`, where there are replicas: the spoke dials them in turn. @throws LocalFault `instance-malformed` */
  noteHubPorts(ports: HubPorts): Promise<void> {
    return noteHubPorts(this.dir, ports);
  }

  /** Starts orchestrator and spoke of an instance that has joined; resolves once one of the hubs sees it. */
  async start(hubs: Promise<readonly MeshHub[]>, valkey: InstanceValkey): Promise<void> {
    this.parts = {
      orchestrator: this.process('orchestrator', {
        args: [builtFile('apps/orchestrator/src/main.js')],
        env: {
          CAPSTAN_VALKEY_URL: valkey.urls.orchestrator,
          CAPSTAN_RUNTIME_DIR: this.options.runtimeDir,
          ...modelEnv(this.options.model),
          ...sandboxEnv(this.options.sandbox),
        },
        isReady: () => isHealthy(this.orchestratorSocket),
      }),
      spoke: this.process('spoke', {
        args: [builtFile('apps/spoke/src/main.js')],
        env: { CAPSTAN_VALKEY_URL: valkey.urls.spoke },
        isReady: async () => this.isOnlineAt(await hubs),
      }),
    };
    await Promise.all([this.parts.orchestrator.start(), this.parts.spoke.start()]);
  }

  /** True where the hub has a link to this instance. */
  async isOnline(hub: MeshHub): Promise<boolean> {
    const connections = await hub.client.connections().catch(() => []);
    return connections.some((connection) => connection.instanceId === this.id && connection.online);
  }

  private async isOnlineAt(hubs: readonly MeshHub[]): Promise<boolean> {
    // One that was stopped on purpose is not asked: the answer must not wait for it.
    const running = hubs.filter(({ process }) => process.pid !== undefined);
    return (await Promise.all(running.map((hub) => this.isOnline(hub)))).includes(true);
  }

  /** Kills the agents that still run, then ends the processes in the order that loses nothing. */
  async stop(): Promise<void> {
    await this.killAgents().catch(() => undefined);
    await this.parts?.spoke.stop();
    await this.parts?.orchestrator.stop();
    await this.reaper.stop();
  }

  private async killAgents(): Promise<void> {
    if (this.parts?.orchestrator.pid === undefined) return;
    const token = (await readFile(join(this.dir, 'tokens', 'orchestrator.token'), 'utf8')).trim();
    const call = { socketPath: this.orchestratorSocket, token, timeoutMs: 10_000 };
    const { body } = await requestOnSocket({ ...call, method: 'GET', path: '/agents' });
    const agents = JSON.parse(body) as { agentId: string; state: string }[];
    const alive = agents.filter((agent) => !TERMINAL.has(agent.state));
    await Promise.allSettled(
      alive.map(({ agentId }) =>
        requestOnSocket({ ...call, method: 'POST', path: `/agents/${encodeURIComponent(agentId)}/kill` }),
      ),
    );
  }

  private started(): { orchestrator: SupervisedProcess; spoke: SupervisedProcess } {
    if (this.parts === undefined) throw new LocalFault('not-started', `${this.id} was not started.`);
    return this.parts;
  }

  private process(
    part: string,
    spec: Pick<ProcessSpec, 'args' | 'isReady'> & { env?: Record<string, string> },
  ): SupervisedProcess {
    const { options } = this;
    return new SupervisedProcess(
      {
        name: `${options.id}/${part}`,
        command: pinnedNode(),
        cwd: options.dir,
        logFile: join(options.logDir, `${options.id}-${part}.log`),
        ...spec,
        args: [SMALL_YOUNG_SPACE, ...spec.args],
        env: { ...options.env, CAPSTAN_INSTANCE_DIR: options.dir, ...spec.env },
      },
      options.register,
      options.onRestart,
    );
  }
}

function modelEnv(model: MeshModel): Record<string, string> {
  if (model.provider === 'scripted') return { CAPSTAN_MODEL_PROVIDER: 'scripted' };
  return {
    CAPSTAN_MODEL_PROVIDER: 'anthropic',
    ANTHROPIC_API_KEY: model.apiKey,
    ...(model.url === undefined ? {} : { CAPSTAN_ANTHROPIC_URL: model.url }),
  };
}

function sandboxEnv(sandbox: MeshInstanceOptions['sandbox']): Record<string, string> {
  if (sandbox.driver === 'bubblewrap') return {};
  const { socketPath } = sandbox;
  return { CAPSTAN_SANDBOX: 'docker', ...(socketPath === undefined ? {} : { CAPSTAN_DOCKER_SOCKET: socketPath }) };
}

async function isHealthy(socketPath: string): Promise<boolean> {
  try {
    return (await requestOnSocket({ socketPath, method: 'GET', path: '/health', timeoutMs: 2000 })).status === 200;
  } catch {
    return false;
  }
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const done = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', () => {
      done(true);
    });
    socket.once('error', () => {
      done(false);
    });
  });
}
