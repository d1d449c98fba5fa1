import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { AuditLog } from '@capstan/evidence';
import { createLogger } from '@capstan/platform';
import type { KillEpoch } from '@capstan/protocol';
import { BubblewrapDriver, type PreparedSandbox } from '@capstan/sandbox';
import { TestRepository } from '../../../test/support/repository.js';
import { Sandboxes } from '../../../test/support/sandboxes.js';
import { noGates } from '../src/coordinator/gates.js';
import { createProvider, ModelGateway } from '../src/gateway/index.js';
import { LeaseWatch } from '../src/killswitch/lease-watch.js';
import { Reaping } from '../src/killswitch/reaping.js';
import { VitalsWatch } from '../src/monitor/vitals-watch.js';
import { SecretScanner } from '../src/secret-scan/index.js';
import { AdoptedAgents } from '../src/spawner/adopted-agents.js';
import { AgentLife } from '../src/spawner/agent-life.js';
import { AgentRun } from '../src/spawner/agent-run.js';
import { AgentSockets, closeSockets } from '../src/spawner/agent-sockets.js';
import { answeringJudge } from '../src/spawner/answering-judge.js';
import { Cleanup } from '../src/spawner/cleanup.service.js';
import type { FoundAgent } from '../src/spawner/found-agent.js';
import { DEFAULT_AUTHOR, Harvester } from '../src/spawner/harvester.js';
import { Sessions, type Session } from '../src/spawner/session.js';
import type { SessionRecord } from '../src/spawner/session-record.js';
import { Settlement } from '../src/spawner/settlement.js';
import type { SpawnPlan } from '../src/spawner/spawn-plan.js';
import { Supervisor } from '../src/spawner/supervisor.js';
import { Turns } from '../src/spawner/turns.js';
import { UsageRecorder } from '../src/spawner/usage-recorder.js';
import type { WorkPlace } from '../src/spawner/work-place.js';
import type { Claim } from '../src/valkey/agent.store.js';
import { GitRoom, TestAgent } from './git-room.js';
import { planFor } from './plans.js';
import { SCAN_FROM_SOURCE } from './scan-program.js';
import type { TestApi } from './test-api.js';

const UID = process.getuid?.() === 0 ? 234_568 : undefined;
/** Waits to be let go, then says what it was told to. */
const WAITING = `while [ ! -e /room/go ]; do sleep 0.1; done; cat /room/words`;
const WORK_DONE = `${JSON.stringify({ type: 'submit', summary: 'Work' })}\n`;
const logger = createLogger('test', { level: 'silent' });
const nobodyIsTold = (): void => undefined;

/**
 * An agent whose orchestrator is gone, and the parts by which the next one goes on with it. All of them are real; what Docker
 * would find again is a sandbox of bubblewrap, whose launcher lives.
 */
export class AdoptionRoom implements AsyncDisposable {
  readonly git = new GitRoom();
  readonly source = new TestRepository();
  readonly remote = this.git.bareCloneOf(this.source);
  readonly sessions = new Sessions(join(this.git.parent, 'sessions'), UID);
  readonly adopted: AdoptedAgents;
  readonly cleanup: Cleanup;
  readonly settlement: Settlement;
  readonly reaping: Reaping;
  private readonly sandboxes = new Sandboxes();
  private readonly stopped = new AbortController();
  private readonly sockets: AgentSockets;
  plan: SpawnPlan = planFor({ repository: this.remote, timeoutMs: 3_600_000 });

  private constructor(
    private readonly api: TestApi,
    readonly audit: AuditLog,
  ) {
    const { store, reaper, runs, monitor } = api;
    const { sessions } = this;
    const { store: repositories } = this.git;
    const driver = new BubblewrapDriver();
    const reaping = (this.reaping = new Reaping(reaper, logger, this.stopped.signal));
    const harvester = new Harvester({
      driver,
      repositories,
      sessions,
      scanner: new SecretScanner({ program: SCAN_FROM_SOURCE }),
      secretScan: async () => ({ allow: [] }),
      gates: noGates(logger),
      turns: new Turns(1),
      author: async () => DEFAULT_AUTHOR,
      instanceId: async () => 'quay',
      isStopped: (plan) => reaping.isStopped(plan),
      logger,
    });
    const gateway = new ModelGateway({ provider: createProvider({ name: 'scripted' }), log: logger });
    const judge = answeringJudge(harvester, logger);
    this.sockets = new AgentSockets({ sessions, gateway, judge, tell: nobodyIsTold, logger });
    const [turns, { signal }] = [new Turns(1), this.stopped];
    const cleanup = new Cleanup({ driver, sessions, repositories, store, turns, logger, signal });
    this.cleanup = cleanup;
    const settlement = (this.settlement = new Settlement(store, audit, logger, this.stopped.signal));
    const life = new AgentLife({
      runs,
      store,
      supervisor: new Supervisor(reaping, nobodyIsTold),
      harvester,
      settlement,
      cleanup,
      reaping,
      leases: new LeaseWatch(reaper, logger),
      vitals: new VitalsWatch({ policy: async () => undefined, notify: async () => undefined, logger }),
      logger,
    });
    this.adopted = new AdoptedAgents({ life, sessions, repositories, sockets: this.sockets, cleanup, monitor, logger });
  }

  static async start(api: TestApi): Promise<AdoptionRoom> {
    const audit = await AuditLog.open(join(api.instance.directory, `${planFor().agentId}.log`));
    return new AdoptionRoom(api, audit);
  }

  /** Makes the agent's place, and notes it, as its start does. */
  async settleIn(): Promise<WorkPlace> {
    const { agentId, taskId, tenant } = this.plan;
    const session = await this.sessions.open(agentId);
    const { uid, gid, directory: parent } = session;
    const repository = await this.git.store.open(tenant, this.remote);
    const { commit, ref: targetRef } = await repository.resolveBranch('');
    const worktree = await repository.addWorktree({ agentId, taskId, commit, uid, gid, parent });
    const { dir, adminDir } = worktree;
    await this.sessions.remember({
      agentId,
      uid,
      gid,
      worktree: { agentId, taskId, dir, adminDir, commit },
      targetRef,
    });
    return { session, repository, worktree, targetRef, earlierTrees: new Map(), trialBytes: 0 };
  }

  /** Valkey has it as one that runs. */
  async runs(): Promise<void> {
    const { store } = this.api;
    await store.create(this.plan, 'digest', 100);
    await store.claim(this.plan.agentId);
    await store.change(this.plan.agentId, { state: 'running' });
  }

  /** What runs of it: a process that the reaper holds and that has its GO. */
  async launch(killEpochs: KillEpoch[] = []): Promise<PreparedSandbox> {
    const { agentId, tenant } = this.plan;
    const sandbox = await this.sandboxes.prepare({ agentId, argv: ['/bin/sh', '-c', WAITING] });
    const { handle } = sandbox;
    const answer = await this.api.reaper.register({ agentId, tenant, handle, killEpochs, killAfterMs: 0n });
    if (!answer.ok) throw new Error(answer.code);
    await sandbox.go();
    return sandbox;
  }

  /** What an agent does in its work tree. */
  async work({ repository, worktree }: WorkPlace, script: string): Promise<void> {
    await new TestAgent(repository, worktree).run(script);
  }

  /** Its sockets under its first orchestrator, until that dies. */
  async firstLife(place: WorkPlace): Promise<AsyncDisposable> {
    const run = new AgentRun(this.plan.agentId, nobodyIsTold, nobodyIsTold);
    const usage = new UsageRecorder(async () => undefined);
    const open = await this.sockets.open(run, { plan: this.plan, place, usage });
    return { [Symbol.asyncDispose]: () => closeSockets(open) };
  }

  /** What the next orchestrator finds. */
  async found(sandbox: PreparedSandbox): Promise<{ claim: Claim; found: FoundAgent }> {
    const claim = await this.api.store.adopt(this.plan.agentId);
    if (claim === undefined) throw new Error('it does not run');
    return { claim, found: { record: await this.record(), sandbox } };
  }

  async record(): Promise<SessionRecord> {
    const record = await this.sessions.recall(this.plan.agentId);
    if (record === undefined) throw new Error('nothing is noted');
    return record;
  }

  /** The agent asks at its socket. */
  async submit({ runDirectory }: Session, submission: object = {}): Promise<unknown> {
    const asked = request({ socketPath: join(runDirectory, 'submit.sock'), method: 'POST', path: '/submit' });
    asked.end(JSON.stringify({ summary: 'Work', ...submission }));
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    return json(answer);
  }

  /** Lets the agent end. @param words its last ones; unless told, it declares its work done */
  letGo(words = WORK_DONE): void {
    writeFileSync(join(this.sandboxes.room, 'words'), words, { mode: 0o644 });
    writeFileSync(join(this.sandboxes.room, 'go'), '');
  }

  /** As its orchestrator does when it stops: the reaper is not asked any more. */
  stop(): void {
    this.stopped.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const run = this.api.runs.get(this.plan.agentId);
    run?.stop({ kind: 'killed' });
    await run?.closed;
    await this.sandboxes[Symbol.asyncDispose]();
    this.stop();
    await this.audit[Symbol.asyncDispose]();
    for (const each of [this.git, this.source]) each[Symbol.dispose]();
  }
}
