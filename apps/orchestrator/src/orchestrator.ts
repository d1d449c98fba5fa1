import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { AuditLog } from '@capstan/evidence';
import { closeValkey, connectValkey, DEFAULT_COMPACTION, ReaperClient, type Logger } from '@capstan/platform';
import { InstanceFiles } from './config/instance-files.js';
import type { Settings } from './config/settings.js';
import { noGates } from './coordinator/gates.js';
import { createProvider, ModelGateway, rulesOf, SpendLedger } from './gateway/index.js';
import { RepositoryStore } from './git/index.js';
import { Killswitch } from './killswitch/killswitch.service.js';
import { LeaseWatch } from './killswitch/lease-watch.js';
import { Reaping } from './killswitch/reaping.js';
import { withinTime } from './killswitch/within-time.js';
import type { Drainable } from './lifecycle.js';
import { Monitor } from './monitor/monitor.service.js';
import { VitalsWatch } from './monitor/vitals-watch.js';
import type { ApiParts } from './orchestrator.module.js';
import { AgentQueue } from './queue/agent.queue.js';
import { AgentWorker } from './queue/agent.worker.js';
import { Sweep } from './queue/sweep.js';
import { SecretScanner, type ScannerOptions } from './secret-scan/index.js';
import { AgentSecrets } from './secrets/agent-secrets.js';
import { answeringJudge } from './spawner/answering-judge.js';
import { Admission } from './spawner/admission.service.js';
import { AdoptedAgents } from './spawner/adopted-agents.js';
import { Adoption } from './spawner/adoption.service.js';
import { AgentLife } from './spawner/agent-life.js';
import { AgentRuns } from './spawner/agent-run.js';
import { AgentSockets } from './spawner/agent-sockets.js';
import { Cleanup } from './spawner/cleanup.service.js';
import { DEFAULT_AUTHOR, Harvester } from './spawner/harvester.js';
import { Launcher } from './spawner/launcher.js';
import { Messages } from './spawner/messages.service.js';
import { Orphans } from './spawner/orphans.js';
import { ProgramStore } from './spawner/program.store.js';
import { Recovery } from './spawner/recovery.service.js';
import { SandboxCheck } from './spawner/sandbox-check.js';
import { sandboxesOf } from './spawner/sandboxes.js';
import { Sessions } from './spawner/session.js';
import { Settlement } from './spawner/settlement.js';
import { Spawner } from './spawner/spawner.service.js';
import { Supervisor } from './spawner/supervisor.js';
import { Turns } from './spawner/turns.js';
import { AgentEvents } from './valkey/agent.events.js';
import { AgentStore } from './valkey/agent.store.js';

/** So long may agents take to be killed, saved and cleaned up when we stop; the rest is done at the next start. */
const DRAIN_MS = 5_000;
const CLOSE_MS = 1_000;

/** The execution plane of one instance, without its HTTP face. */
export class Orchestrator implements Drainable {
  private constructor(
    readonly api: Omit<ApiParts, 'process'>,
    private readonly inner: {
      runs: AgentRuns;
      worker: AgentWorker;
      sweep: Sweep;
      recovery: Recovery;
      ledger: SpendLedger;
      programs: ProgramStore;
      logger: Logger;
    },
    private readonly closers: readonly (() => unknown)[],
  ) {}

  /**
   * Connects and builds everything; starts nothing yet.
   *
   * @param scan how secrets are looked for; a test runs the scanner from its source
   * @throws LocalFault where the policy, the audit log or Valkey cannot be used
   */
  static async open(settings: Settings, logger: Logger, scan: ScannerOptions = {}): Promise<Orchestrator> {
    const { paths, keepDays, queueLimit, runtimeDir, agentLimits, valkeyUrl } = settings;
    if (settings.coordinatorUrl !== undefined) {
      logger.warn({
        msg: 'COORDINATOR_URL is set, but no gate asks a coordinator yet: work is pushed without a verdict',
      });
    }
    const files = new InstanceFiles(paths);
    const { concurrency } = (await files.policy()).spawn;
    await mkdir(dirname(paths.audit), { recursive: true, mode: 0o700 });
    const audit = await AuditLog.open(paths.audit);
    const valkey = await connectValkey(valkeyUrl);
    const subscriber = await connectValkey(valkeyUrl);
    const stopped = new AbortController();

    const reaper = new ReaperClient(paths.reaperSocket);
    const reaping = new Reaping(reaper, logger, stopped.signal);
    const store = new AgentStore(valkey);
    const events = new AgentEvents(valkey, subscriber);
    await events.start();
    const queue = new AgentQueue(valkeyUrl, keepDays);
    const monitor = await Monitor.start(paths.logs, logger);
    const runs = new AgentRuns();
    const settlement = new Settlement(store, audit, logger, stopped.signal);
    const secrets = new AgentSecrets();
    const held = settings.provider.name === 'anthropic' ? [settings.provider.apiKey] : [];
    const scanner = new SecretScanner({ held, ...scan });
    settlement.onEnd = (agentId) => {
      secrets.forget(agentId);
      scanner.forget(agentId);
    };
    const sessions = new Sessions(paths.agents, settings.agentUidBase);
    const repositories = new RepositoryStore({
      root: paths.repositories,
      credentialsFile: paths.gitCredentials,
    });
    const ledger = new SpendLedger(valkey);
    const gateway = new ModelGateway({
      provider: createProvider(settings.provider),
      scripted: { provider: createProvider({ name: 'scripted' }), roles: settings.scriptedRoles },
      log: logger,
      ledger,
      rules: async () => rulesOf(await files.policy()),
    });
    const driver = sandboxesOf(settings, logger);
    const cleanup = new Cleanup({
      sessions,
      repositories,
      store,
      driver,
      // Of their own: work that is saved, of all agents at once after a kill-all, holds up none that is submitted.
      turns: new Turns(availableParallelism()),
      logger,
      signal: stopped.signal,
    });
    const orphans = new Orphans({
      runs,
      reaping,
      sessions,
      driver,
      store,
      audit,
      repositories: paths.repositories,
      logger,
    });
    const harvester = new Harvester({
      driver,
      repositories,
      sessions,
      scanner,
      gates: noGates(logger),
      // Git, a sandbox and a scan for each: more of them than processors would only run out of time together.
      turns: new Turns(2 * availableParallelism()),
      instanceId: () => files.instanceId(),
      author: async () => (await files.policy()).author ?? DEFAULT_AUTHOR,
      secretScan: async () => (await files.policy()).secretScan ?? { allow: [] },
      isStopped: (plan) => reaping.isStopped(plan),
      logger,
    });
    const programs = new ProgramStore(paths.programs, () => files.policy());
    const judge = answeringJudge(harvester, logger);
    const sockets = new AgentSockets({
      sessions,
      gateway,
      judge,
      tell: (notice) =>
        void store.noticeMessage(notice).catch((error: unknown) => {
          logger.error({ err: error, ...notice, msg: 'what became of a message could not be told' });
        }),
      logger,
    });
    const launcher = new Launcher({
      sessions,
      programs,
      repositories,
      sockets,
      driver,
      reaper,
      reaping,
      logger,
      runtimeDir,
      agentLimits,
      compaction: async () => (await files.policy()).compaction ?? DEFAULT_COMPACTION,
    });
    const supervisor = new Supervisor(
      reaping,
      (notice) =>
        void store.noticeCompaction(notice).catch((error: unknown) => {
          logger.error({ err: error, ...notice, msg: 'that a conversation was summed up could not be told' });
        }),
    );
    const vitals = new VitalsWatch({
      policy: async () => (await files.policy()).onStall,
      notify: (notice) => store.noticeStall(notice),
      logger,
    });
    const life = new AgentLife({
      runs,
      store,
      supervisor,
      harvester,
      settlement,
      cleanup,
      reaping,
      leases: new LeaseWatch(reaper, logger),
      vitals,
      logger,
    });
    const adopted = new AdoptedAgents({ life, sessions, repositories, sockets, cleanup, monitor, logger });
    const spawner = new Spawner({
      store,
      launcher,
      life,
      adopted,
      settlement,
      cleanup,
      monitor,
      secrets,
      scanner,
      logger,
    });
    const adoption = new Adoption({ store, sessions, reaper, driver, adopted, logger });
    const recovery = new Recovery({
      runs,
      store,
      sessions,
      reaper,
      reaping,
      settlement,
      cleanup,
      orphans,
      adoption,
      logger,
      signal: stopped.signal,
    });
    const worker = new AgentWorker(valkeyUrl, concurrency, (agentId) => spawner.start(agentId), logger);
    const killswitch = new Killswitch({ reaper, reaping, runs, sessions, store, queue, settlement, audit, logger });
    const sweep = new Sweep({ store, queue, worker, adopted, recovery, killswitch, monitor, files, logger, keepDays });
    adopted.onFewerJobless = () => void sweep.freePlaces();
    const admission = new Admission({
      files,
      reaper,
      store,
      queue,
      audit,
      secrets,
      logger,
      sandboxes: driver.names,
      queueLimit,
      keepDays,
    });
    const messages = new Messages({ runs, store, monitor, audit });
    const checks = { valkey: () => valkey.ping(), reaper: () => reaper.describe() };
    const hasOrphans = (): boolean => orphans.isIncomplete;
    const api = { admission, secrets, store, events, monitor, vitals, killswitch, messages, queue, checks, hasOrphans };

    return new Orchestrator(
      { ...api, sandboxes: new SandboxCheck(driver) },
      { runs, worker, sweep, recovery, ledger, programs, logger },
      [
        () => sweep.stop(),
        () => stopped.abort(),
        () => recovery.idle(),
        () => worker.close(),
        () => queue.close(),
        () => reaper.close(),
        () => closeValkey(subscriber),
        () => closeValkey(valkey),
        () => audit[Symbol.asyncDispose](),
      ],
    );
  }

  /** Adopts or ends what the last process left, then takes jobs. */
  async begin(): Promise<void> {
    const { runs, recovery, worker, sweep, ledger, programs, logger } = this.inner;
    // Nobody hears any more what those cost, also where the agent goes on.
    const unheard = await ledger.settleLeft();
    if (unheard > 0) logger.warn({ requests: unheard, msg: 'model requests of the last process count in full' });
    await this.api.store.missUnread();
    await recovery.recoverAtStart();
    if (runs.all().length === 0) await programs.clear();
    await sweep.applyLimits();
    await sweep.noticeKillAlls();
    worker.start();
    sweep.start();
  }

  /** Takes no further job, and ends the agents that run, those of Docker too: nobody would watch them. */
  async drain(): Promise<void> {
    const { sweep, worker, runs, logger } = this.inner;
    sweep.stop();
    await withinTime(CLOSE_MS, worker.stopTaking(), undefined);
    const ending = runs.all();
    for (const run of ending) run.stop({ kind: 'lost' });
    await withinTime(DRAIN_MS, Promise.all(ending.map((run) => run.closed)), undefined);
    const left = runs.all().length;
    if (left > 0) logger.warn({ agents: left, msg: 'agents end with this process and are reported at the next start' });
  }

  /** Never rejects; a part that does not answer is left behind. */
  async close(): Promise<void> {
    for (const close of this.closers) {
      const closed = Promise.resolve(close()).catch((error: unknown) => {
        this.inner.logger.warn({ err: error, msg: 'a connection was not closed' });
      });
      await withinTime(CLOSE_MS, closed, undefined);
    }
  }
}
