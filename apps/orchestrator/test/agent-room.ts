import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  writeFileSync,
  chownSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { createLogger } from '@capstan/platform';
import { agentId, taskId, tenantId } from '@capstan/protocol';
import { BubblewrapDriver, signalHandle, waitGone, type PreparedSandbox } from '@capstan/sandbox';
import {
  createProvider,
  ModelGateway,
  type GatewayOrder,
  type GatewaySession,
  type ProviderSettings,
} from '../src/gateway/index.js';
import { RepositoryStore, type BareRepository, type HarvestOrder, type Worktree } from '../src/git/index.js';
import { Inbox } from '../src/spawner/inbox.js';
import { sandboxSpec, taskFile } from '../src/spawner/runtimes.js';
import type { Session } from '../src/spawner/session.js';
import type { SpawnPlan } from '../src/spawner/spawn-plan.js';
import { SubmitDesk } from '../src/spawner/submit-desk.js';

const IS_ROOT = process.getuid?.() === 0;
const UID = IS_ROOT ? 234_570 : (process.getuid?.() ?? 0);
const driver = new BubblewrapDriver();

export interface RunOptions {
  playbook: string;
  /** Changes of the limits in the task. */
  limits?: Partial<Record<'iterations' | 'tokens' | 'timeoutMs', number>>;
  order?: Partial<GatewayOrder>;
  /** Default: scripted. */
  provider?: ProviderSettings;
}

/** What an agent said, line by line. */
export type Line =
  { type: 'log'; source: string; text: string } | { type: 'submit'; summary: string } | { type: 'end'; reason: string };

/** The real agent in a real sandbox on a real worktree, with the scripted model. */
export class AgentRoom implements AsyncDisposable {
  private readonly root = realpathSync(mkdtempSync(join(tmpdir(), 'capstan-agent-')));
  private readonly runtimeDir = join(this.root, 'runtime');
  private readonly store = new RepositoryStore({ root: join(this.root, 'repositories') });
  private readonly open: AsyncDisposableStack = new AsyncDisposableStack();
  private count = 0;

  constructor() {
    chmodSync(this.root, 0o711);
    mkdirSync(this.runtimeDir, { mode: 0o755 });
    chmodSync(this.runtimeDir, 0o755);
    // The runtime must be where a uid of its own can reach it.
    copyFileSync(process.execPath, join(this.runtimeDir, 'node'));
    chmodSync(join(this.runtimeDir, 'node'), 0o755);
    const script = resolve(process.cwd(), 'scripts/bundle-agent.mjs');
    execFileSync(process.execPath, [script, join(this.runtimeDir, 'agent.mjs')], { stdio: 'ignore' });
    chmodSync(join(this.runtimeDir, 'agent.mjs'), 0o644);
  }

  /** Prepares an agent on `repository` and gives GO. */
  async start(repository: string, options: RunOptions): Promise<StartedAgent> {
    this.count += 1;
    const bare = await this.store.open('default', repository);
    const { commit } = await bare.resolveBranch('');
    const plan = planOf(`agent-${String(this.count)}`, repository, options.playbook);
    const session = this.session(plan);
    const worktree = await bare.addWorktree({
      agentId: plan.agentId,
      taskId: plan.taskId,
      commit,
      uid: UID,
      gid: UID,
      parent: session.directory,
    });
    const gateway = await this.gateway(plan, session, options);
    const inbox = new Inbox(plan.agentId, true, () => undefined);
    const desk = await SubmitDesk.open(
      join(session.runDirectory, 'submit.sock'),
      UID,
      async () => ({ accepted: true }),
      inbox,
    );
    this.open.defer(() => desk.close());
    const task = JSON.parse(taskFile(plan)) as { limits: object };
    writeFileSync(
      join(session.runDirectory, 'task.json'),
      JSON.stringify({ ...task, limits: { ...task.limits, ...options.limits } }),
    );
    const spec = sandboxSpec({
      plan,
      session,
      runtimeDir: this.runtimeDir,
      limits: {},
      worktreeMounts: worktree.mounts(),
    });
    const sandbox = await driver.prepare(spec);
    this.open.defer(() => end(sandbox));
    await sandbox.go();
    return new StartedAgent(bare, worktree, sandbox, gateway);
  }

  private session({ agentId: id }: SpawnPlan): Session {
    const directory = join(this.root, id);
    const runDirectory = join(directory, 'run');
    for (const each of [directory, runDirectory]) mkdirSync(each, { mode: 0o750 });
    if (IS_ROOT) for (const each of [directory, runDirectory]) chownSync(each, 0, UID);
    return { agentId: id, directory, uid: UID, gid: UID, runDirectory, socketPath: join(runDirectory, 'gateway.sock') };
  }

  private async gateway(
    plan: SpawnPlan,
    { socketPath, uid, gid }: Session,
    { order, provider = { name: 'scripted' } }: RunOptions,
  ): Promise<GatewaySession> {
    const gateway = new ModelGateway({
      provider: createProvider(provider),
      log: createLogger('gateway', { level: 'silent' }),
    });
    const { agentId: id, taskId: task, tenant, budgetMicroUsd, model, playbook } = plan;
    const told = { onUsage: () => undefined, onBudget: () => undefined };
    const session = await gateway.open({
      agentId: id,
      taskId: task,
      tenant,
      budgetMicroUsd,
      model,
      playbook,
      socketPath,
      uid,
      gid,
      ...told,
      ...order,
    });
    this.open.defer(() => session.close());
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.open.disposeAsync();
    rmSync(this.root, { recursive: true, force: true });
  }
}

export class StartedAgent {
  private readonly said: Promise<string>;

  constructor(
    readonly repository: BareRepository,
    readonly worktree: Worktree,
    readonly sandbox: PreparedSandbox,
    readonly gateway: GatewaySession,
  ) {
    this.said = text(sandbox.stdout);
  }

  /** Resolves at the agent's end. */
  async end(): Promise<{ lines: Line[]; exitCode: number | null; complaint: string }> {
    const complaint = text(this.sandbox.stderr);
    const { exitCode } = await this.sandbox.exited;
    const lines = (await this.said)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
    await waitGone(this.sandbox.handle, 5000);
    return { lines, exitCode, complaint: await complaint };
  }

  harvestOrder(): HarvestOrder {
    return { repository: this.repository, worktree: this.worktree, driver, uid: UID, gid: UID };
  }
}

async function end(sandbox: PreparedSandbox): Promise<void> {
  await signalHandle(sandbox.handle);
  await waitGone(sandbox.handle, 5000);
  await sandbox.exited;
  await sandbox.dispose();
}

function planOf(id: string, repository: string, playbook: string): SpawnPlan {
  return {
    agentId: agentId(id),
    taskId: taskId('task-one'),
    tenant: tenantId('default'),
    role: 'worker',
    runtime: 'claude',
    repository,
    branch: '',
    workItems: ['Map this repository.'],
    skills: [],
    sandbox: 'bubblewrap',
    timeoutMs: 60_000,
    budgetMicroUsd: 1_000_000,
    maxRetries: 0,
    priority: 5,
    model: '',
    playbook,
    killAfterMs: 0,
    killEpochs: [],
  };
}
