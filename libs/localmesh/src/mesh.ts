import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import type { HubClient } from './client/hub-client.js';
import { addRemote, type Remote } from './git/remote.js';
import { Guardian } from './guardian/guardian.js';
import { MeshHub } from './hub/mesh-hub.js';
import { MeshInstance } from './instance/mesh-instance.js';
import { provideRuntime } from './instance/runtime-dir.js';
import type { MeshOptions } from './mesh-options.js';
import { startPostgres } from './postgres/postgres.js';
import { childEnv } from './process/child-env.js';
import { freePort } from './process/free-port.js';
import { ProcessRegister } from './process/process-register.js';
import type { SupervisedProcess } from './process/supervised-process.js';
import { saveContext } from './state/context.js';
import { makePrivate, makeTraversable, prepareStateDir, stateRoot } from './state/state-dir.js';
import { StateLock } from './state/state-lock.js';
import { pinKeys } from './state/trust.js';
import { type InstanceValkey, sharedValkey, startValkey } from './valkey/valkey.js';

const INSTANCE_ID = /^[a-z0-9-]{1,32}$/;

/**
 * A mesh that runs: `await using mesh = await Mesh.start({ instances: ['harbor', 'quay'] })`.
 *
 * Everything in it is the real thing, in processes of its own. It ends with `stop`, and leaves no process; a temporary
 * state directory goes with it. Where the process that holds this object is killed, a guardian does the same.
 */
export class Mesh implements AsyncDisposable {
  readonly instances: MeshInstance[] = [];
  /** The bare remote of `options.repository`. */
  repository: Remote | undefined;
  private meshHub: MeshHub | undefined;
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
    this.register = ProcessRegister.of(stateDir);
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

  get hub(): MeshHub {
    if (this.meshHub === undefined) throw new LocalFault('not-started', 'The hub was not started.');
    return this.meshHub;
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
    const port = await freePort(options.hubPort ?? 0);
    const runtimeDir = join(stateDir, 'runtime');
    const hub = this.startHub(port);
    await allOf([
      hub,
      this.step('agent runtime', () => provideRuntime(runtimeDir, join(stateRoot(), 'runtime'))),
      options.repository === undefined ? undefined : this.takeRepository(options.repository),
      ...ids.map((id, index) => this.startInstance(id, index, hub, port, runtimeDir)),
    ]);
    // They came in the order in which they were ready.
    this.instances.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id));
    await this.writeContext(await hub);
  }

  private async startHub(port: number): Promise<MeshHub> {
    const { stateDir } = this;
    const common = { env: this.env(), register: this.register };
    const postgres = await this.step('PostgreSQL', () =>
      startPostgres({
        ...common,
        dir: join(stateDir, 'postgres'),
        binariesRoot: stateRoot(),
        logFile: this.logFile('postgres'),
      }),
    );
    this.servers.push(postgres.process);
    this.meshHub = await this.step('hub', () =>
      MeshHub.start({
        ...common,
        dir: join(stateDir, 'hub'),
        port,
        tls: this.options.tls ?? false,
        databaseUrl: postgres.url,
        logFile: this.logFile('hub'),
        ...this.restarts(),
      }),
    );
    return this.meshHub;
  }

  private async startInstance(
    id: string,
    index: number,
    hub: Promise<MeshHub>,
    port: number,
    runtimeDir: string,
  ): Promise<void> {
    const { options, stateDir } = this;
    const instance = await MeshInstance.prepare({
      id,
      dir: join(makeTraversable(join(stateDir, 'instances')), id),
      logDir: join(stateDir, 'logs'),
      policy: { repositories: [join(stateDir, 'remotes', '*')], ...options.policy },
      model: options.model ?? { provider: 'scripted' },
      runtimeDir,
      env: this.env(),
      register: this.register,
      ...this.restarts(),
    });
    this.instances.push(instance);
    const [valkey] = await allOf([
      this.step(`${id}: Valkey`, () => this.startValkey(instance, index)),
      this.admit(instance, hub, port).then(() => this.step(`${id}: reaper`, () => instance.reaper.start())),
    ]);
    await this.step(`${id}: orchestrator and spoke`, () => instance.start(hub, valkey));
  }

  /** At the first start of an instance the hub must be there to enrol it; afterwards nothing waits for the hub. */
  private async admit(instance: MeshInstance, hub: Promise<MeshHub>, port: number): Promise<void> {
    if (instance.isJoined) {
      await instance.noteHubPort(port);
      return;
    }
    const admitting = await hub;
    await this.step(`${instance.id}: enrolment`, () => instance.join(admitting));
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
    await this.meshHub?.process.stop();
    await Promise.allSettled(this.servers.map((server) => server.stop()));
    // Whatever did not get as far as being known by one of the above.
    await this.register.endProcesses();
    await this.guardian?.dismiss();
    this.lock[Symbol.dispose]();
    if (this.isTemporary) rmSync(this.stateDir, { recursive: true, force: true });
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

/** Waits for all, also when one fails: what is still starting must be known before it can be ended. */
async function allOf<T extends readonly unknown[]>(work: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const results = await Promise.allSettled(work);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return results.map((result) => (result as PromiseFulfilledResult<unknown>).value) as {
    -readonly [K in keyof T]: Awaited<T[K]>;
  };
}
