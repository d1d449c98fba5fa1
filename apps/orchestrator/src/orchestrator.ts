import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AuditLog } from '@capstan/evidence';
import { closeValkey, connectValkey, ReaperClient, type Logger } from '@capstan/platform';
import { BubblewrapDriver } from '@capstan/sandbox';
import { InstanceFiles } from './config/instance-files.js';
import type { Settings } from './config/settings.js';
import { noGates } from './coordinator/gates.js';
import { createProvider, ModelGateway } from './gateway/index.js';
import { RepositoryStore } from './git/index.js';
import { Killswitch } from './killswitch/killswitch.service.js';
import { LeaseWatch } from './killswitch/lease-watch.js';
import { Reaping } from './killswitch/reaping.js';
import { withinTime } from './killswitch/within-time.js';
import type { Drainable } from './lifecycle.js';
import { Monitor } from './monitor/monitor.service.js';
import type { ApiParts } from './orchestrator.module.js';
import { AgentQueue } from './queue/agent.queue.js';
import { AgentWorker } from './queue/agent.worker.js';
import { Sweep } from './queue/sweep.js';
import { AgentSecrets } from './secrets/agent-secrets.js';
import { Admission } from './spawner/admission.service.js';
import { AgentRuns } from './spawner/agent-run.js';
import { Cleanup } from './spawner/cleanup.service.js';
import { Harvester } from './spawner/harvester.js';
import { Launcher } from './spawner/launcher.js';
import { Recovery } from './spawner/recovery.service.js';
import { Sessions } from './spawner/session.js';
import { Settlement } from './spawner/settlement.js';
import { Spawner } from './spawner/spawner.service.js';
import { Supervisor } from './spawner/supervisor.js';
import { AgentEvents } from './valkey/agent.events.js';
import { AgentStore } from './valkey/agent.store.js';

/** So long may agents take to be killed, saved and cleaned up when we stop; the rest is done at the next start. */
const DRAIN_MS = 5_000;
const CLOSE_MS = 1_000;

/** The execution plane of one instance, without its HTTP face. */
export class Orchestrator implements Drainable {
  private constructor(
    readonly api: Omit<ApiParts, 'process'>,
    private readonly inner: { runs: AgentRuns; worker: AgentWorker; sweep: Sweep; recovery: Recovery; logger: Logger },
    private readonly closers: readonly (() => unknown)[],
  ) {}

  /**
   * Connects and builds everything; starts nothing yet.
   *
   * @throws LocalFault where the policy, the audit log or Valkey cannot be used
   */
  static async open(settings: Settings, logger: Logger): Promise<Orchestrator> {
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
    settlement.onEnd = (agentId) => secrets.forget(agentId);
    const sessions = new Sessions(paths.agents, settings.agentUidBase);
    const repositories = new RepositoryStore({ root: paths.repositories });
    const gateway = new ModelGateway({ provider: createProvider(settings.provider), log: logger });
    const driver = new BubblewrapDriver({ owner: paths.agents });
    const cleanup = new Cleanup({ sessions, repositories, store, driver, logger });
    const recovery = new Recovery({ runs, store, reaper, reaping, settlement, cleanup, logger });
    const launcher = new Launcher({
      sessions,
      repositories,
      gateway,
      driver,
      reaper,
      reaping,
      logger,
      runtimeDir,
      agentLimits,
    });
    const harvester = new Harvester(driver, noGates(logger), logger);
    const supervisor = new Supervisor(reaping);
    const spawner = new Spawner({
      runs,
      store,
      launcher,
      supervisor,
      harvester,
      settlement,
      cleanup,
      monitor,
      reaping,
      leases: new LeaseWatch(reaper, logger),
      secrets,
      logger,
    });
    const worker = new AgentWorker(valkeyUrl, concurrency, (agentId) => spawner.start(agentId), logger);
    const sweep = new Sweep({ store, queue, worker, recovery, monitor, files, logger, keepDays });
    const killswitch = new Killswitch({ reaper, reaping, runs, store, queue, settlement, audit, logger });
    const admission = new Admission({ files, reaper, store, queue, audit, secrets, logger, queueLimit, keepDays });
    const checks = { valkey: () => valkey.ping(), reaper: () => reaper.describe() };

    return new Orchestrator(
      { admission, secrets, store, events, monitor, killswitch, queue, checks },
      { runs, worker, sweep, recovery, logger },
      [
        () => sweep.stop(),
        () => stopped.abort(),
        () => worker.close(),
        () => queue.close(),
        () => reaper.close(),
        () => closeValkey(subscriber),
        () => closeValkey(valkey),
        () => audit[Symbol.asyncDispose](),
      ],
    );
  }

  /** Ends what the last process left, then takes jobs. */
  async begin(): Promise<void> {
    const { recovery, worker, sweep } = this.inner;
    await recovery.recoverAtStart();
    worker.start();
    sweep.start();
  }

  /** Takes no further job, and ends the agents that run: they could not outlive this process. */
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
