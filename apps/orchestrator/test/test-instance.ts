import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyRecord, KeyRing, makeHeader, saveTrust, signPayload, SigningKey } from '@capstan/identity';
import {
  AgentRole,
  CommandSchema,
  create,
  Direction,
  encodeEnvelope,
  newId,
  toBinary,
  SpawnAgentSchema,
  type MessageInitShape,
} from '@capstan/protocol';
import { pathsOf, type InstancePaths } from '../src/config/settings.js';
import { Reaper } from '../src/reaper/reaper.js';
import { ReaperServer } from '../src/reaper/server/server.js';
import { startTestValkey, type TestValkey } from '../../../test/support/test-valkey.js';

export const HUB = 'hub';
export const INSTANCE = 'harbor';
export const TOKEN = 'a-token-for-tests-only';

export type SpawnInit = Exclude<MessageInitShape<typeof SpawnAgentSchema>, { $typeName: 'capstan.v1.SpawnAgent' }>;

export interface TestInstanceOptions {
  /** Names that agents may be given. */
  secrets?: string[];
  concurrency?: number;
  repositories?: string[];
  /** That may be used, the default first. */
  sandboxes?: string[];
  /** Limits that sandboxes must enforce. */
  demandLimits?: string[];
  /** Programs that agents may be, beside the built-in one. */
  programs?: Record<string, unknown>;
  /** Most that the agents of one task may spend together, millionths of a US dollar. */
  taskBudgetMicroUsd?: number;
  /** Most that the agents of one tenant may spend on one day, UTC; millionths of a US dollar. */
  tenantBudgetMicroUsdPerDay?: number;
}

/** An instance's directory with a real Valkey, a real reaper and a hub's key that may order. */
export class TestInstance implements AsyncDisposable {
  readonly paths: InstancePaths;
  readonly hubKey = SigningKey.generate();
  private reaper: { core: Reaper; server: ReaperServer } | undefined;

  private constructor(
    readonly directory: string,
    readonly valkey: TestValkey,
  ) {
    this.paths = pathsOf(directory);
  }

  static async start(options: TestInstanceOptions = {}): Promise<TestInstance> {
    await using held = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'capstan-o-'));
    held.defer(() => rm(directory, { recursive: true, force: true }));
    // Agents' uids must be able to reach what is mounted for them.
    await chmod(directory, 0o711);
    const instance = held.use(new TestInstance(directory, await startTestValkey()));
    for (const room of ['run', 'reaper', 'tokens']) await mkdir(join(directory, room), { mode: 0o700 });
    await writeFile(instance.paths.instance, JSON.stringify({ version: 1, instanceId: INSTANCE }));
    await writeFile(instance.paths.token, `${TOKEN}\n`, { mode: 0o600 });
    await saveTrust(
      instance.paths.trust,
      new KeyRing([keyRecord(HUB, instance.hubKey.publicKey, ['link', 'command'])]),
    );
    await instance.writePolicy(options);
    await instance.startReaper();
    held.move();
    return instance;
  }

  async writePolicy({
    concurrency = 4,
    repositories = ['/srv/*'],
    secrets = [],
    programs = {},
    taskBudgetMicroUsd,
    tenantBudgetMicroUsdPerDay,
    demandLimits = [],
    sandboxes = ['bubblewrap'],
  }: TestInstanceOptions): Promise<void> {
    const spawn = {
      runtimes: ['claude', 'unnamed', ...Object.keys(programs)],
      repositories,
      tenants: ['default'],
      concurrency,
      budgetMicroUsd: 1_000_000,
      timeoutMs: 3_600_000,
      sandboxes,
      demandLimits,
      ...(taskBudgetMicroUsd === undefined ? {} : { taskBudgetMicroUsd }),
      ...(tenantBudgetMicroUsdPerDay === undefined ? {} : { tenantBudgetMicroUsdPerDay }),
    };
    // JSON is YAML.
    await writeFile(this.paths.policy, JSON.stringify({ version: 1, spawn, secrets, programs }));
  }

  async startReaper(): Promise<void> {
    const report = (): void => undefined;
    const key = await SigningKey.loadOrCreate(join(this.directory, 'reaper.key'));
    const core = await Reaper.open({
      file: join(this.directory, 'reaper', 'register'),
      instanceId: INSTANCE,
      key,
      report,
    });
    const server = new ReaperServer(core, report);
    await server.listen(this.paths.reaperSocket);
    this.reaper = { core, server };
  }

  /** As its supervisor would. */
  async startReaperAfter(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
    await this.startReaper();
  }

  async stopReaper(): Promise<void> {
    await this.reaper?.server.close();
    await this.reaper?.core.close();
    this.reaper = undefined;
  }

  /** A signed spawn, as bytes of its envelope. */
  signedSpawn(
    spawn: Partial<SpawnInit> = {},
    header: Partial<Parameters<typeof makeHeader>[0]> = {},
    key: SigningKey = this.hubKey,
  ): Uint8Array {
    const command = create(CommandSchema, {
      header: makeHeader({ issuer: HUB, audience: INSTANCE, direction: Direction.HUB_TO_SPOKE, ...header }),
      body: { case: 'spawn', value: create(SpawnAgentSchema, { ...defaultSpawn(), ...(spawn as SpawnInit) }) },
    });
    return encodeEnvelope(signPayload(key, 'command', toBinary(CommandSchema, command)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopReaper();
    await this.valkey.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

function defaultSpawn(): SpawnInit {
  return {
    agentId: newId(),
    taskId: newId(),
    role: AgentRole.WORKER,
    runtime: 'claude',
    context: { repository: '/srv/repository', workItems: ['Do it.'] },
    // No hub renews anything here.
    onHubLost: { action: { case: 'keep', value: true } },
  };
}
