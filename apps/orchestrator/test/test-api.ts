import { request } from 'node:http';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import type { INestApplication } from '@nestjs/common';
import { AuditLog } from '@capstan/evidence';
import {
  closeValkey,
  connectValkey,
  createLogger,
  listen,
  loadOrCreateToken,
  ProblemFilter,
  ReaperClient,
  requestValidation,
} from '@capstan/platform';
import { newId, toBase64, type AgentView } from '@capstan/protocol';
import { BubblewrapDriver, SandboxDrivers } from '@capstan/sandbox';
import type { Redis } from 'ioredis';
import { InstanceFiles } from '../src/config/instance-files.js';
import { configureApi } from '../src/configure-api.js';
import { Killswitch } from '../src/killswitch/killswitch.service.js';
import { Reaping } from '../src/killswitch/reaping.js';
import { Monitor } from '../src/monitor/monitor.service.js';
import { VitalsWatch } from '../src/monitor/vitals-watch.js';
import { OrchestratorModule } from '../src/orchestrator.module.js';
import { AgentQueue } from '../src/queue/agent.queue.js';
import { AgentRuns } from '../src/spawner/agent-run.js';
import { AgentSecrets } from '../src/secrets/agent-secrets.js';
import { Admission } from '../src/spawner/admission.service.js';
import { Messages } from '../src/spawner/messages.service.js';
import { SandboxCheck } from '../src/spawner/sandbox-check.js';
import { Sessions } from '../src/spawner/session.js';
import { Settlement } from '../src/spawner/settlement.js';
import { AgentEvents } from '../src/valkey/agent.events.js';
import { AgentStore } from '../src/valkey/agent.store.js';
import { TestInstance, TOKEN } from './test-instance.js';

export interface Answer<T = Record<string, unknown>> {
  status: number;
  type: string;
  body: T;
}

/** The API on its socket, over a real Valkey and a real reaper; nobody takes jobs from the queue. */
export class TestApi implements AsyncDisposable {
  private constructor(
    readonly instance: TestInstance,
    readonly socket: string,
    /** Every route that it has, as `GET /agents/:id/status`. */
    readonly routes: readonly string[],
    readonly store: AgentStore,
    readonly queue: AgentQueue,
    readonly monitor: Monitor,
    readonly reaper: ReaperClient,
    readonly runs: AgentRuns,
    private readonly stop: () => Promise<void>,
  ) {}

  static async start(): Promise<TestApi> {
    const logger = createLogger('test', { level: 'silent' });
    const stopped = new AbortController();
    const instance = await TestInstance.start();
    const { paths } = instance;
    const valkey: Redis = await connectValkey(instance.valkey.url);
    const subscriber: Redis = await connectValkey(instance.valkey.url);
    const store = new AgentStore(valkey);
    const events = new AgentEvents(valkey, subscriber);
    await events.start();
    const queue = new AgentQueue(instance.valkey.url, 30);
    const monitor = await Monitor.start(paths.logs, logger);
    const reaper = new ReaperClient(paths.reaperSocket);
    const audit = await AuditLog.open(join(instance.directory, 'audit.log'));
    const runs = new AgentRuns();
    const reaping = new Reaping(reaper, logger, stopped.signal);
    const sessions = new Sessions(paths.agents, undefined);
    const settlement = new Settlement(store, audit, logger, stopped.signal);
    const files = new InstanceFiles(paths);
    const secrets = new AgentSecrets();
    const admission = new Admission({
      files,
      reaper,
      store,
      queue,
      audit,
      secrets,
      logger,
      sandboxes: ['bubblewrap'],
      queueLimit: 1000,
      keepDays: 30,
    });
    const killswitch = new Killswitch({ reaper, reaping, runs, sessions, store, queue, settlement, audit, logger });
    const checks = { valkey: () => valkey.ping() };
    const process = { drain: async () => undefined, close: async () => undefined };
    const vitals = new VitalsWatch({ policy: async () => undefined, notify: async () => undefined, logger });
    const messages = new Messages({ runs, store, monitor, audit });
    const hasOrphans = (): boolean => false;
    const parts = {
      admission,
      secrets,
      store,
      events,
      monitor,
      vitals,
      killswitch,
      messages,
      queue,
      sandboxes: new SandboxCheck(new SandboxDrivers([new BubblewrapDriver()])),
      checks,
      hasOrphans,
      process,
    };
    const app: INestApplication = await NestFactory.create(OrchestratorModule.register(parts), { logger: false });
    app.useGlobalFilters(new ProblemFilter(logger));
    app.useGlobalPipes(requestValidation());
    configureApi(app, await loadOrCreateToken(paths.token));
    const socket = join(instance.directory, 'run', 'orchestrator.sock');
    await listen(app, { path: socket });
    return new TestApi(instance, socket, routesOf(app), store, queue, monitor, reaper, runs, async () => {
      await app.close();
      stopped.abort();
      reaper.close();
      await queue.close();
      await closeValkey(subscriber);
      await closeValkey(valkey);
      await audit[Symbol.asyncDispose]();
      await instance[Symbol.asyncDispose]();
    });
  }

  /** One request; its answer as JSON. */
  call<T = Record<string, unknown>>(method: string, path: string, body?: unknown, token = TOKEN): Promise<Answer<T>> {
    return new Promise((resolve, reject) => {
      const headers = {
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        'content-type': 'application/json',
      };
      const req = request({ socketPath: this.socket, method, path, headers }, (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk: string) => (text += chunk));
        res.on('end', () => {
          const type = String(res.headers['content-type']);
          resolve({ status: res.statusCode ?? 0, type, body: (text === '' ? null : JSON.parse(text)) as T });
        });
      });
      req.on('error', reject);
      req.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Hands on a signed command. */
  command(bytes: Uint8Array): Promise<Answer<AgentView & { code: string }>> {
    return this.call('POST', '/commands', { envelope: toBase64(bytes) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function routesOf(app: INestApplication): string[] {
  interface Layer {
    route?: { path: string; methods: Record<string, boolean> };
  }
  const { router } = app.getHttpAdapter().getInstance() as { router: { stack: Layer[] } };
  return router.stack.flatMap(({ route }) =>
    route === undefined ? [] : Object.keys(route.methods).map((method) => `${method.toUpperCase()} ${route.path}`),
  );
}

/** A spawn of the owner's own. */
export function ownSpawn(over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    taskId: newId(),
    agentType: 'worker',
    context: { repository: '/srv/repository', branch: 'main', workItems: ['Do it.'] },
    options: { timeout: 60_000, maxRetries: 1 },
    ...over,
  };
}
