import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyRecord, KeyRing, saveTrust, SealingKey, SigningKey } from '@capstan/identity';
import { type Envelope, type MessageInitShape, newId, type SpawnAgent, type SpawnAgentSchema } from '@capstan/protocol';
import { Redis } from 'ioredis';
import { joinDirs } from './join-dirs.js';
import { answers, removeDir, TestProcess, testValkey, until } from './processes.js';
import { type HeaderChange, StandInHub } from './stand-in-hub.js';
import { StandInOrchestrator } from './stand-in-orchestrator.js';

const TOKEN = 'a'.repeat(64);
/** What a test changes about a spawn that would be allowed. */
export type SpawnChange = Omit<
  Exclude<MessageInitShape<typeof SpawnAgentSchema>, SpawnAgent>,
  '$typeName' | '$unknown'
>;

export const POLICY = `version: 1
spawn:
  runtimes: [claude]
  repositories: [/srv/repo, "https://git.example/team/*"]
  tenants: [default]
  concurrency: 4
  budgetMicroUsd: 1000000
  timeoutMs: 3600000
  sandboxes: [bubblewrap]
`;

/**
 * One instance around the real spoke: a real Valkey, the real reaper and the real spoke as processes, which can be
 * ended at any moment; hub and orchestrator are stand-ins that a test can hold, cut and ask.
 */
export class TestInstance implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    readonly hub: StandInHub,
    readonly orchestrator: StandInOrchestrator,
    readonly valkey: ReturnType<typeof testValkey>,
    readonly reaper: TestProcess,
    readonly spoke: TestProcess,
    /** The instance's pinned keys: the spoke's for receipts, the reaper's for observations. */
    readonly keys: KeyRing,
    /** Raw X25519, to which secrets for the instance are sealed. */
    readonly sealingKey: Uint8Array,
  ) {}

  /** @param wire between the spoke and its Valkey: from the server's URL to the one that the spoke is given */
  static async start(wire: (url: string) => Promise<string> = async (url) => url): Promise<TestInstance> {
    const dir = await mkdtemp(join(tmpdir(), 'cs-'));
    await joinDirs(dir, TOKEN);
    const key = await SigningKey.create(join(dir, 'identity.key'));
    const reaperKey = await SigningKey.create(join(dir, 'reaper.key'));
    const sealing = await SealingKey.loadOrCreate(join(dir, 'sealing.key'));
    const hub = new StandInHub(keyRecord('harbor', key.publicKey, ['link', 'receipt']));
    await hub.start();
    const instance = {
      version: 1,
      instanceId: 'harbor',
      displayName: 'harbor',
      hub: { id: 'hub', url: hub.url },
      connectionId: newId(),
    };
    await writeFile(join(dir, 'instance.json'), JSON.stringify(instance), { mode: 0o600 });
    await saveTrust(join(dir, 'trust.json'), new KeyRing([hub.record]));
    await writeFile(join(dir, 'policy.yaml'), POLICY);
    const valkey = testValkey(dir);
    const env = { CAPSTAN_INSTANCE_DIR: dir, CAPSTAN_VALKEY_URL: await wire(valkey.url), CAPSTAN_LOG_LEVEL: 'debug' };
    const orchestrator = new StandInOrchestrator(join(dir, 'run', 'orchestrator.sock'), TOKEN);
    const reaper = TestProcess.fromSource('apps/orchestrator/src/reaper/main.ts', env, () =>
      answers(join(dir, 'run', 'reaper.sock')),
    );
    // Let in or turned away: it has come as far as its hub.
    const heard = (): number => hub.links.length + hub.refused.length;
    let before = 0;
    const spoke = TestProcess.fromSource(
      'apps/spoke/src/main.ts',
      env,
      () => heard() > before,
      () => (before = heard()),
    );
    const keys = new KeyRing([
      keyRecord('harbor', key.publicKey, ['link', 'receipt']),
      keyRecord('harbor', reaperKey.publicKey, ['observe']),
    ]);
    const made = new TestInstance(dir, hub, orchestrator, valkey, reaper, spoke, keys, sealing.publicKey);
    try {
      await Promise.all([orchestrator.start(), valkey.start(), reaper.start()]);
      await spoke.start();
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
    return made;
  }

  spawn(change: SpawnChange = {}, header: HeaderChange = {}): Envelope {
    const value = {
      agentId: `agent-${newId()}`,
      taskId: `task-${newId()}`,
      runtime: 'claude',
      context: { repository: '/srv/repo', workItems: ['do it'] },
      ...change,
    };
    return this.hub.command({ case: 'spawn', value }, header);
  }

  /** Ends the spoke as a power cut would, and starts it again. */
  async crashSpoke(): Promise<void> {
    await this.spoke.stop('SIGKILL');
    await this.spoke.start();
  }

  /** How many envelopes the spoke's outbox holds on disk. */
  async outboxSize(): Promise<number> {
    const client = new Redis({ path: join(this.dir, 'valkey.sock'), lazyConnect: true });
    try {
      await client.connect();
      return await client.zcard('spoke:outbox:order');
    } finally {
      client.disconnect();
    }
  }

  /** The first receipt of a kind that answers a command. */
  async receipt(command: Envelope, kind: string): Promise<ReturnType<StandInHub['receiptsOf']>[number]> {
    return until(
      () => this.hub.receiptsOf(command, this.keys).find((receipt) => receipt.kind === kind),
      `a receipt ${kind}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.spoke.stop('SIGKILL');
    await this.reaper.stop('SIGKILL');
    await this.valkey.stop('SIGKILL');
    await this.orchestrator[Symbol.asyncDispose]();
    await this.hub[Symbol.asyncDispose]();
    await removeDir(this.dir);
  }
}
