import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import type { HubClient } from './client/hub-client.js';
import { addRemote, type Remote } from './git/remote.js';
import { Guardian } from './guardian/guardian.js';
import { MeshHub } from './hub/mesh-hub.js';
import { dialled, type HubPorts } from './instance/hub-ports.js';
import { MeshInstance } from './instance/mesh-instance.js';
import { provideRuntime } from './instance/runtime-dir.js';
import type { MeshOptions } from './mesh-options.js';
import { startPostgres } from './postgres/postgres.js';
import { allOf } from './process/all-of.js';
import { childEnv } from './process/child-env.js';
import { freePorts } from './process/free-port.js';
import { ProcessRegister } from './process/process-register.js';
import type { SupervisedProcess } from './process/supervised-process.js';
import { saveContext } from './state/context.js';
import { makePrivate, makeTraversable, prepareStateDir, stateRoot } from './state/state-dir.js';
import { StateLock } from './state/state-lock.js';
import { pinKeys } from './state/trust.js';
import { type InstanceValkey, sharedValkey, startHubValkey, startValkey } from './valkey/valkey.js';

const INSTANCE_ID = /^[a-z0-9-]{1,32}$/;

/**
 * A mesh that runs: `await using mesh = await Mesh.start({ instances: ['harbor', 'quay'] })`. With `hubs: 3` it has
 * replicas, `mesh.hubs`: each is a process of its own to `stop`, `kill` and `start` (`mesh.hubs[1]?.process`).
 *
 * Everything in it is the real thing, in processes of its own. It ends with `stop`, and leaves no process; a temporary
 * state directory goes with it. Where the process that holds this object is killed, a guardian does the same.
 */
export class Mesh implements AsyncDisposable {
  readonly instances: MeshInstance[] = [];
  /** The bare remote of `options.repository`. */
  repository: Remote | undefined;
  /** The hub and its replicas. */
  readonly hubs: MeshHub[] = [];
  /** The server through which the hubs hear of each other; undefined for one hub, and for a Valkey of somebody else. */
  hubValkey: SupervisedProcess | undefined;
  /** Servers that go last: everything else writes to them. */
  private readonly servers: SupervisedProcess[] = [];
  private readonly register: ProcessRegister;
  private guardian: Guardian | undefined;
  private stopping: Promise<void> | undefined;

  private constructor(
    readonly stateDir: string,
    private readonly isTemporary: boolean,
    private readonly options: MeshOptions,
    private readonly lock: StateLock,
  ) {
    this.register = ProcessRegister.of(stateDir, options.envOf);
  }

  /**
   * Starts a mesh and resolves once the hub sees every instance.
   *
   * @throws LocalFault `already-running`, `port-in-use`, `process-failed`, `valkey-missing`, `postgres-missing`,
   * `repository-missing`, `repository-empty`, `not-built` …; whatever had started by then is ended first.
   */
  static async start(options: MeshOptions = {}): Promise<Mesh> {
    const ids = options.instances ?? ['quay'];
    for (const id of ids) {
      if (!INSTANCE_ID.test(id))
        throw new LocalFault('instance-name', `"${id}" is no name of an instance: use a-z, 0-9 and -, at most 32.`);
    }
    const isTemporary = options.stateDir === undefined;
    const stateDir = options.stateDir ?? mkdtempSync(join(tmpdir(), 'capstan-'));
    prepareStateDir(stateDir, ids);
    const mesh = new Mesh(stateDir, isTemporary, options, StateLock.take(stateDir));
    const giveUp = (): void => {
      void mesh.register.endAll();
    };
    options.signal?.addEventListener('abort', giveUp, { once: true });
    try {
      await mesh.bringUp(ids);
      return mesh;
    } catch (error) {
      await mesh.stop();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', giveUp);
    }
  }

  /** The first of the hubs. */
  get hub(): MeshHub {
    const [first] = this.hubs;
    if (first === undefined) throw new LocalFault('not-started', 'The hub was not started.');
    return first;
  }

  get client(): HubClient {
    return this.hub.client;
  }

  get contextFile(): string {
    return join(this.stateDir, 'context.json');
  }

  get trustFile(): string {
    return join(this.stateDir, 'trust.json');
  }

  /** @throws LocalFault `instance-unknown` */
  instance(id: string): MeshInstance {
    const found = this.instances.find((instance) => instance.id === id);
    if (found === undefined) throw new LocalFault('instance-unknown', `There is no instance ${id} in this mesh.`);
    return found;
  }

  /** Clones a repository into a bare remote that every instance of a mesh made by default may use. */
  addRemote(source: string): Promise<Remote> {
    return addRemote(source, join(this.stateDir, 'remotes'));
  }

  /** Gives the next spawns of every instance the agent that is built now; agents that run keep theirs. */
  async renewRuntime(): Promise<void> {
    await provideRuntime(this.runtimeDir, join(stateRoot(), 'runtime'));
  }

  /** Kills the agents, ends every process in order, and frees the state directory. Safe to call twice. */
  stop(): Promise<void> {
    this.stopping ??= this.takeDown();
    return this.stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  private async bringUp(ids: readonly string[]): Promise<void> {
    const { options, stateDir } = this;
    if (this.register.hasLeftovers)
      await this.step('ending what an earlier mesh left', () => this.register.endLeftovers());
    this.guardian = Guardian.post({
      stateDir,
      isTemporary: this.isTemporary,
      logFile: this.logFile('guardian'),
      env: this.env(),
      register: this.register,
    });
    const ports = await freePorts(options.hubPort ?? 0, options.hubs ?? 1);
    const runtimeDir = this.runtimeDir;
    const hubs = this.startHubs(ports);
    await allOf([
      hubs,
      this.step('agent runtime', () => this.renewRuntime()),
      options.repository === undefined ? undefined : this.takeRepository(options.repository),
      ...ids.map((id, index) =>
        this.startInstance(id, index, hubs, dialled(ports, index, options.dials?.[id]), runtimeDir),
      ),
    ]);
    // They came in the order in which they were ready.
    this.instances.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id));
    await this.writeContext(this.hub);
  }

  private async startHubs(ports: HubPorts): Promise<readonly MeshHub[]> {
    const { stateDir } = this;
    const common = { env: this.env(), register: this.register };
    const [postgres, valkeyUrl] = await allOf([
      this.step('PostgreSQL', () =>
        startPostgres({
          ...common,
          dir: join(stateDir, 'postgres'),
          binariesRoot: stateRoot(),
          logFile: this.logFile('postgres'),
        }),
      ),
      ports.length === 1 ? undefined : this.step('hub: Valkey', () => this.startHubValkey()),
    ]);
    this.servers.push(postgres.process);
    const start = async (port: number, index: number): Promise<void> => {
      const name = index === 0 ? 'hub' : `hub-${String(index)}`;
      this.hubs[index] = await this.step(name, () =>
        MeshHub.start({
          ...common,
          name,
          dir: join(stateDir, 'hub'),
          port,
          tls: this.options.tls ?? false,
          databaseUrl: postgres.url,
          ...(valkeyUrl === undefined ? {} : { valkeyUrl }),
          logFile: this.logFile(name),
          ...this.restarts(),
        }),
      );
    };
    // The first makes the keys that all of them have.
    const [first, ...more] = ports;
    await start(first, 0);
    await allOf(more.map((port, at) => start(port, at + 1)));
    return this.hubs;
  }

  /** @returns its URL */
  private async startHubValkey(): Promise<string> {
    const { valkeyUrl } = this.options;
    if (valkeyUrl !== undefined && valkeyUrl !== '') return valkeyUrl;
    const valkey = await startHubValkey({
      dir: join(this.stateDir, 'hub-valkey'),
      logFile: this.logFile('hub-valkey'),
      env: this.env(),
      register: this.register,
    });
    this.hubValkey = valkey.process;
    this.servers.push(valkey.process);
    return valkey.url;
  }

  private async startInstance(
    id: string,
    index: number,
    hubs: Promise<readonly MeshHub[]>,
    ports: HubPorts,
    runtimeDir: string,
  ): Promise<void> {
    const { options, stateDir } = this;
    const instance = await MeshInstance.prepare({
      id,
      dir: join(makeTraversable(join(stateDir, 'instances')), id),
      logDir: join(stateDir, 'logs'),
      policy: {
        repositories: [join(stateDir, 'remotes', '*')],
        ...(options.sandbox === undefined ? {} : { sandboxes: [options.sandbox.driver] }),
        ...options.policy,
      },
      sandbox: options.sandbox ?? { driver: 'bubblewrap' },
      model: options.model ?? { provider: 'scripted' },
      runtimeDir,
      env: this.env(),
      register: this.register,
      ...this.restarts(),
    });
    this.instances.push(instance);
    const [valkey] = await allOf([
      this.step(`${id}: Valkey`, () => this.startValkey(instance, index)),
      this.admit(instance, hubs, ports).then(() => this.step(`${id}: reaper`, () => instance.reaper.start())),
    ]);
    await this.step(`${id}: orchestrator and spoke`, () => instance.start(hubs, valkey));
  }

  /** At the first start of an instance the hub must be there to enrol it; afterwards nothing waits for the hub. */
  private async admit(instance: MeshInstance, hubs: Promise<readonly MeshHub[]>, ports: HubPorts): Promise<void> {
    if (!instance.isJoined) {
      await hubs;
      await this.step(`${instance.id}: enrolment`, () => instance.join(this.hub));
    }
    await instance.noteHubPorts(ports);
  }

  private async startValkey({ id, dir }: MeshInstance, index: number): Promise<InstanceValkey> {
    const { valkeyUrl } = this.options;
    if (valkeyUrl !== undefined && valkeyUrl !== '') return sharedValkey(valkeyUrl, index);
    const valkey = await startValkey({
      instanceId: id,
      dir: join(dir, 'valkey'),
      logFile: this.logFile(`${id}-valkey`),
      env: this.env(),
      register: this.register,
    });
    if (valkey.process !== undefined) this.servers.push(valkey.process);
    return valkey;
  }

  private async takeRepository(source: string): Promise<void> {
    this.repository = await this.step('repository', () => this.addRemote(source));
  }

  private async writeContext(hub: MeshHub): Promise<void> {
    await pinKeys(this.trustFile, hub, this.instances);
    await saveContext(this.contextFile, {
      version: 1,
      hubId: hub.id,
      hubUrl: hub.url,
      ...(hub.tlsPin === undefined ? {} : { tlsPin: hub.tlsPin }),
      tokenFile: hub.tokenFile,
      trustFile: this.trustFile,
      instances: Object.fromEntries(this.instances.map(({ id, dir }) => [id, dir])),
    });
  }

  private async takeDown(): Promise<void> {
    this.register.close();
    await Promise.allSettled(this.instances.map((instance) => instance.stop()));
    await Promise.allSettled(this.hubs.map(({ process }) => process.stop()));
    await Promise.allSettled(this.servers.map((server) => server.stop()));
    // Whatever did not get as far as being known by one of the above.
    await this.register.endProcesses();
    await this.guardian?.dismiss();
    this.lock[Symbol.dispose]();
    if (this.isTemporary) rmSync(this.stateDir, { recursive: true, force: true });
  }

  private get runtimeDir(): string {
    return join(this.stateDir, 'runtime');
  }

  private env(): Record<string, string> {
    return { ...childEnv(), NODE_COMPILE_CACHE: join(stateRoot(), 'compile-cache'), ...this.options.env };
  }

  private logFile(name: string): string {
    return join(makePrivate(join(this.stateDir, 'logs')), `${name}.log`);
  }

  private restarts(): { onRestart?: (name: string) => void } {
    const { onRestart } = this.options;
    return onRestart === undefined ? {} : { onRestart };
  }

  private async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const { onStep } = this.options;
    const startedAt = performance.now();
    onStep?.({ name, state: 'started', ms: 0 });
    const tell = (state: 'done' | 'failed'): void => {
      onStep?.({ name, state, ms: Math.round(performance.now() - startedAt) });
    };
    try {
      const result = await work();
      tell('done');
      return result;
    } catch (error) {
      tell('failed');
      throw error;
    }
  }
}
