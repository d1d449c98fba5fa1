import { request } from 'node:http';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import type { INestApplication } from '@nestjs/common';
import { AuditLog, verifyLog } from '@capstan/evidence';
import { keyRecord, KeyRing, SigningKey, verifyEnvelope } from '@capstan/identity';
import {
  closeValkey,
  connectValkey,
  createLogger,
  listen,
  ProblemFilter,
  ReaperClient,
  requestValidation,
} from '@capstan/platform';
import {
  agentId,
  decodeEnvelope,
  Direction,
  fromBase64,
  fromBinary,
  newId,
  ObservationSchema,
  toBase64,
  type AgentView,
} from '@capstan/protocol';
import type { Redis } from 'ioredis';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { HUB, INSTANCE, TestInstance, TOKEN } from '../../test/test-instance.js';
import { InstanceFiles, loadOrCreateToken } from '../config/instance-files.js';
import { configureApi } from '../configure-api.js';
import { Killswitch } from '../killswitch/killswitch.service.js';
import { Reaping } from '../killswitch/reaping.js';
import { Monitor } from '../monitor/monitor.service.js';
import { OrchestratorModule } from '../orchestrator.module.js';
import { AgentQueue } from '../queue/agent.queue.js';
import { AgentRuns } from '../spawner/agent-run.js';
import { Admission } from '../spawner/admission.service.js';
import { Settlement } from '../spawner/settlement.js';
import { AgentEvents } from '../valkey/agent.events.js';
import { AgentStore } from '../valkey/agent.store.js';

const logger = createLogger('test', { level: 'silent' });

interface Answer<T = Record<string, unknown>> {
  status: number;
  type: string;
  body: T;
}

describe('the API', () => {
  let instance: TestInstance;
  let valkey: Redis;
  let subscriber: Redis;
  let app: INestApplication;
  let socket: string;
  let store: AgentStore;
  let queue: AgentQueue;
  let monitor: Monitor;
  let reaper: ReaperClient;
  let audit: AuditLog;
  const stopped = new AbortController();

  beforeAll(async () => {
    instance = await TestInstance.start();
    valkey = await connectValkey(instance.valkey.url);
    subscriber = await connectValkey(instance.valkey.url);
    store = new AgentStore(valkey);
    const events = new AgentEvents(valkey, subscriber);
    await events.start();
    queue = new AgentQueue(instance.valkey.url, 30);
    monitor = await Monitor.start(instance.paths.logs, logger);
    reaper = new ReaperClient(instance.paths.reaperSocket);
    audit = await AuditLog.open(join(instance.directory, 'audit.log'));
    const runs = new AgentRuns();
    const reaping = new Reaping(reaper, logger, stopped.signal);
    const settlement = new Settlement(store, audit, logger, stopped.signal);
    const files = new InstanceFiles(instance.paths);
    const admission = new Admission({ files, reaper, store, queue, audit, logger, queueLimit: 1000, keepDays: 30 });
    const killswitch = new Killswitch({ reaper, reaping, runs, store, queue, settlement, audit, logger });
    const checks = { valkey: () => valkey.ping() };
    const process = { drain: async () => undefined, close: async () => undefined };
    app = await NestFactory.create(
      OrchestratorModule.register({ admission, store, events, monitor, killswitch, queue, checks, process }),
      { logger: false },
    );
    app.useGlobalFilters(new ProblemFilter(logger));
    app.useGlobalPipes(requestValidation());
    configureApi(app, await loadOrCreateToken(instance.paths.token));
    socket = join(instance.directory, 'run', 'orchestrator.sock');
    await listen(app, { path: socket });
  });
  afterAll(async () => {
    await app.close();
    stopped.abort();
    reaper.close();
    await queue.close();
    await closeValkey(subscriber);
    await closeValkey(valkey);
    await audit[Symbol.asyncDispose]();
    await instance[Symbol.asyncDispose]();
  });

  function call<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    token = TOKEN,
  ): Promise<Answer<T>> {
    return new Promise((resolve, reject) => {
      const headers = {
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        'content-type': 'application/json',
      };
      const req = request({ socketPath: socket, method, path, headers }, (res) => {
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

  const command = (bytes: Uint8Array): Promise<Answer<AgentView & { code: string }>> =>
    call('POST', '/commands', { envelope: toBase64(bytes) });

  function ownSpawn(over: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      taskId: newId(),
      agentType: 'worker',
      context: { repository: '/srv/repository', branch: 'main', workItems: ['Do it.'] },
      options: { timeout: 60_000, maxRetries: 1 },
      ...over,
    };
  }

  it(
    'says that it is healthy to everybody, and nothing more',
    proves('ORC-102', async () => {
      const { status, body } = await call('GET', '/health', undefined, '');
      expect(status).toBe(200);
      expect(Object.keys(body).sort()).toEqual(['status', 'timestamp', 'uptime']);
      expect(body).toMatchObject({
        status: 'healthy',
        uptime: expect.any(Number),
        timestamp: expect.stringMatching(/Z$/),
      });
    }),
  );

  it.each([
    ['GET', '/agents'],
    ['GET', '/agents/a/status'],
    ['GET', '/agents/a/logs'],
    ['GET', '/agents/events'],
    ['GET', '/queue/counts'],
    ['GET', '/metrics'],
    ['POST', '/commands'],
    ['POST', '/agents/spawn'],
    ['POST', '/agents/a/kill'],
    ['POST', '/agents/a/noticed-kill'],
    ['POST', '/agents/kill-all'],
    ['POST', '/agents/rearm'],
  ])('asks for the token at %s %s', async (method, path) => {
    for (const token of ['', 'wrong']) {
      const { status, type, body } = await call(method, path, undefined, token);
      expect({ status, type, code: body['code'] }).toMatchObject({ status: 401, code: 'unauthorized' });
      expect(type).toContain('application/problem+json');
    }
  });

  it(
    "queues the owner's spawn and gives the agent's id",
    proves('ORC-105', async () => {
      const { status, body } = await call<{ agentId: string }>('POST', '/agents/spawn', ownSpawn());
      expect(status).toBe(202);
      expect(await store.findPlan(agentId(body.agentId))).toMatchObject({
        role: 'worker',
        runtime: 'claude',
        repository: '/srv/repository',
        branch: 'main',
        workItems: ['Do it.'],
        timeoutMs: 60_000,
        maxRetries: 1,
        sandbox: 'bubblewrap',
        budgetMicroUsd: 1_000_000,
      });
    }),
  );

  it('names each wrong field of a spawn', async () => {
    const { status, body } = await call<{ code: string; errors: { field: string }[] }>('POST', '/agents/spawn', {
      taskId: 'No Id',
      agentType: 'boss',
      context: { repository: '', workItems: [] },
      options: { priority: 11, timeout: -1, retries: 3 },
      extra: true,
    });
    expect(status).toBe(400);
    expect(body.code).toBe('validation');
    expect([...new Set(body.errors.map((error) => error.field))].sort()).toEqual([
      'agentType',
      'context.repository',
      'context.workItems',
      'extra',
      'options.priority',
      'options.retries',
      'options.timeout',
      'taskId',
    ]);
  });

  it.each([
    ['runtime', { runtime: 'acp' }, 'policy-runtime'],
    ['repository', { context: { repository: '/etc', workItems: ['x'] } }, 'policy-repository'],
    ['tenant', { tenant: 'other' }, 'policy-tenant'],
    ['sandbox', { options: { sandbox: 'none' } }, 'policy-sandbox'],
    ['budget', { options: { budgetMicroUsd: 1_000_001 } }, 'policy-budget'],
    ['time', { options: { timeout: 3_600_001 } }, 'policy-timeout'],
  ])("refuses a %s that the owner's policy does not allow", async (_, over, code) => {
    const { status, body } = await call('POST', '/agents/spawn', ownSpawn(over));
    expect([status, body['code']]).toEqual([422, code]);
  });

  it(
    'tells the state of an agent with its times and error, and 404 for one that is unknown',
    proves('ORC-135', async () => {
      const { body } = await call<{ agentId: string }>('POST', '/agents/spawn', ownSpawn());
      const { status, body: agent } = await call<AgentView>('GET', `/agents/${body.agentId}/status`);
      expect(status).toBe(200);
      expect(agent).toMatchObject({ state: 'queued', startedAt: null, completedAt: null, error: null });
      expect(Date.parse(agent.queuedAt ?? '')).toBeGreaterThan(Date.now() - 60_000);
      const error = { code: 'agent-crashed', sentence: 'It crashed.' };
      await store.change(agentId(body.agentId), { state: 'failed', patch: { error } });
      const after = await call<AgentView>('GET', `/agents/${body.agentId}/status`);
      expect(after.body).toMatchObject({ state: 'failed', error, completedAt: expect.any(String) });
      const unknown = await call('GET', `/agents/${newId()}/status`);
      expect([unknown.status, unknown.body['code']]).toEqual([404, 'agent-unknown']);
    }),
  );

  it('refuses an id that can be none', async () => {
    expect((await call('GET', '/agents/No%20Id/status')).body).toMatchObject({ status: 400, code: 'id-malformed' });
    expect((await call('POST', '/agents/..%2f..%2fetc/kill')).body).toMatchObject({
      status: 400,
      code: 'id-malformed',
    });
  });

  it('takes a signed spawn once, however often it is offered', async () => {
    const bytes = instance.signedSpawn({ options: { priority: 9 } });
    const before = await queue.counts();
    const answers = await Promise.all(Array.from({ length: 8 }, () => command(bytes)));
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 8 }, () => 202));
    expect(new Set(answers.map((answer) => answer.body.agentId)).size).toBe(1);
    expect(answers[0]?.body).toMatchObject({ state: 'queued', revision: 1 });
    expect((await queue.counts()).pending).toBe(before.pending + 1);
  });

  it('refuses another order with the id of an agent that exists', async () => {
    const id = newId();
    await command(instance.signedSpawn({ agentId: id }));
    const { status, body } = await command(instance.signedSpawn({ agentId: id }));
    expect([status, body.code]).toEqual([409, 'agent-exists']);
  });

  it('takes an order that expired while the orchestrator was away, but none that is older than its records', async () => {
    const late = instance.signedSpawn({}, { nowMs: Date.now() - 3_600_000 });
    expect((await command(late)).status).toBe(202);
    const old = instance.signedSpawn({}, { nowMs: Date.now() - 31 * 86_400_000 });
    expect((await command(old)).body.code).toBe('expired');
  });

  const stranger = SigningKey.generate();
  it.each<[string, (instance: TestInstance) => Uint8Array, string]>([
    ['of an unknown key', (it) => it.signedSpawn({}, {}, stranger), 'key-unknown'],
    ['for another instance', (it) => it.signedSpawn({}, { audience: 'quay' }), 'wrong-audience'],
    [
      'that travels the other way',
      (it) => it.signedSpawn({}, { direction: Direction.SPOKE_TO_HUB }),
      'wrong-direction',
    ],
    ['of an issuer who does not own the key', (it) => it.signedSpawn({}, { issuer: 'another-hub' }), 'wrong-issuer'],
    ['without a role', (it) => it.signedSpawn({ role: 0 }), 'payload-malformed'],
    ['with a priority that is none', (it) => it.signedSpawn({ options: { priority: 11 } }), 'payload-malformed'],
    ['with a task id that is none', (it) => it.signedSpawn({ taskId: '../../etc' }), 'id-malformed'],
    ['of a runtime that is not allowed', (it) => it.signedSpawn({ runtime: 'command' }), 'policy-runtime'],
    ['that is cut off', (it) => it.signedSpawn().subarray(0, 100), 'envelope-malformed'],
    ['that was changed', (it) => changed(it.signedSpawn()), 'signature-invalid'],
  ])('verifies again: refuses a spawn %s', async (_, bytes, code) => {
    const before = await store.live();
    expect((await command(bytes(instance))).body.code).toBe(code);
    expect(await store.live()).toEqual(before);
  });

  it('refuses what is no base64, and what is larger than an envelope', async () => {
    expect((await call('POST', '/commands', { envelope: '?' })).status).toBe(400);
    expect((await call('POST', '/commands', {})).body).toMatchObject({
      code: 'validation',
      errors: [{ field: 'envelope' }, {}, {}],
    });
    const large = await call('POST', '/commands', { envelope: toBase64(new Uint8Array(1024 * 1024 + 3)) });
    expect([large.status, large.body['code']]).toEqual([413, 'envelope-too-large']);
    const larger = await call('POST', '/commands', { envelope: 'A'.repeat(4 * 1024 * 1024) });
    expect(larger.status).toBe(413);
  });

  it('kills an agent that waits: a tombstone that the reaper signed, the state, and no start any more', async () => {
    const { body: agent } = await command(instance.signedSpawn());
    const { status, body } = await call<{ outcome: string; observation: string; agent: AgentView }>(
      'POST',
      `/agents/${agent.agentId}/kill`,
      { reason: 'enough\u001b[2J' },
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({ outcome: 'tombstoned', agent: { state: 'killed', agentId: agent.agentId } });
    const envelope = decodeEnvelope(fromBase64(body.observation));
    const { publicKey } = await reaper.describe();
    const keys = new KeyRing([keyRecord(INSTANCE, publicKey, ['observe'])]);
    verifyEnvelope(envelope, { kind: 'observation', purpose: 'observe', keys });
    expect(fromBinary(ObservationSchema, envelope.payload)).toMatchObject({ agentId: agent.agentId });
    expect(await store.claim(agentId(agent.agentId))).toEqual({ kind: 'refused', state: 'killed' });
    const verified = await verifyLog(join(instance.directory, 'audit.log'));
    expect(verified.ok).toBe(true);
  });

  it('leaves a tombstone for an agent that it has not seen', async () => {
    const id = newId();
    const { status, body } = await call('POST', `/agents/${id}/kill`);
    expect([status, body['outcome'], body['agent']]).toEqual([200, 'tombstoned', null]);
  });

  it('follows a kill that the spoke ordered from the reaper', async () => {
    const { body: agent } = await command(instance.signedSpawn());
    const first = await call<{ agent: AgentView }>('POST', `/agents/${agent.agentId}/noticed-kill`);
    expect(first.body.agent.state).toBe('queued');
    await reaper.kill({ agentId: agent.agentId, timeoutMs: 1000 });
    const second = await call<{ agent: AgentView }>('POST', `/agents/${agent.agentId}/noticed-kill`);
    expect(second.body.agent.state).toBe('killed');
  });

  it('kills all: nothing that was admitted before is left, and nothing is admitted until it is re-armed', async () => {
    const { body: agent } = await command(instance.signedSpawn());
    const killed = await call('POST', '/agents/kill-all', { reason: 'stop' });
    expect([killed.status, killed.body['epoch']]).toEqual([200, '1']);
    await until('nothing lives', async () => (await store.live()).length === 0 || undefined);
    expect((await store.find(agentId(agent.agentId)))?.state).toBe('killed');
    const refused = await command(instance.signedSpawn());
    expect([refused.status, refused.body.code]).toEqual([409, 'disarmed']);
    expect((await call('POST', '/agents/rearm')).status).toBe(204);
    const again = await command(instance.signedSpawn());
    expect(again.status).toBe(202);
    expect((await store.findPlan(agentId(again.body.agentId)))?.killEpochs).toEqual([
      { scope: 'instance', scopeId: '', epoch: '1' },
    ]);
  });

  it('kills while Valkey does not answer', async () => {
    const { body: agent } = await command(instance.signedSpawn());
    instance.valkey.freeze();
    const began = Date.now();
    const { body } = await call('POST', `/agents/${agent.agentId}/kill`);
    const took = Date.now() - began;
    instance.valkey.thaw();
    expect(body).toMatchObject({ outcome: 'tombstoned', agent: null });
    expect(took).toBeLessThan(3000);
    await until(
      'the state follows',
      async () => (await store.find(agentId(agent.agentId)))?.state === 'killed' || undefined,
    );
  });

  it('says so while the reaper is away, and kills once it is back', async () => {
    const { body: agent } = await command(instance.signedSpawn());
    await instance.stopReaper();
    const { status, body } = await call('POST', `/agents/${agent.agentId}/kill`);
    expect([status, body['code']]).toEqual([503, 'reaper-unavailable']);
    await instance.startReaper();
    await until(
      'it is killed',
      async () => (await store.find(agentId(agent.agentId)))?.state === 'killed' || undefined,
    );
  });

  it('gives pages of an agent’s log', async () => {
    const { body: agent } = await command(instance.signedSpawn());
    const log = await monitor.begin(agentId(agent.agentId));
    for (let count = 1; count <= 3; count += 1) log.append('agent', `line ${String(count)}`);
    const page = await call('GET', `/agents/${agent.agentId}/logs?after=1&limit=1`);
    expect(page.body).toMatchObject({ next: 2, gap: false, lines: [{ sequence: 2, source: 'agent', text: 'line 2' }] });
    await monitor.end(agentId(agent.agentId));
    expect((await call('GET', `/agents/${agent.agentId}/logs`)).body).toMatchObject({ next: 3 });
    const wrong = await call<{ errors: { field: string }[] }>('GET', `/agents/${agent.agentId}/logs?after=-1&limit=x`);
    expect([wrong.status, [...new Set(wrong.body.errors.map(({ field }) => field))]]).toEqual([
      400,
      ['after', 'limit'],
    ]);
    expect((await call('GET', `/agents/${newId()}/logs`)).status).toBe(404);
  });

  it(
    'streams every change in order, and goes on behind a cursor',
    proves('ORC-107', async () => {
      const { body: agent } = await command(instance.signedSpawn());
      const id = agentId(agent.agentId);
      await store.claim(id);
      await store.change(id, { state: 'running' });
      const seen = await readEvents('/agents/events?after=0', (events) => events.some((e) => e.is(id, 'running')));
      const states = seen.filter((e) => e.agent.agentId === id).map((e) => e.agent.state);
      expect(states).toEqual(['queued', 'spawning', 'running']);
      const cursor = seen.find((e) => e.is(id, 'spawning'))?.id ?? '';
      const later = readEvents(`/agents/events?after=${cursor}`, (events) => events.some((e) => e.is(id, 'completed')));
      await store.change(id, { state: 'completed' });
      expect((await later).map((e) => e.agent.state)).toEqual(['running', 'completed']);
      expect((await call('GET', '/agents/events?after=yesterday')).status).toBe(400);
    }),
  );

  interface SeenEvent {
    id: string;
    agent: AgentView;
    is(agentId: string, state: string): boolean;
  }

  function readEvents(path: string, enough: (events: SeenEvent[]) => boolean): Promise<SeenEvent[]> {
    return new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${TOKEN}` };
      const req = request({ socketPath: socket, path, headers }, (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk: string) => {
          text += chunk;
          const events = [...text.matchAll(/id: (.+)\nevent: agent\ndata: (.+)\n\n/g)].map(([, id = '', json = '']) => {
            const agent = JSON.parse(json) as AgentView;
            return { id, agent, is: (who: string, state: string) => agent.agentId === who && agent.state === state };
          });
          if (!enough(events)) return;
          req.destroy();
          resolve(events);
        });
      });
      req.on('error', reject);
      req.end();
    });
  }

  it('reads policy and trust again when their owner changes them', async () => {
    await instance.writePolicy({ repositories: ['/other/*'] });
    expect((await command(instance.signedSpawn())).body.code).toBe('policy-repository');
    await instance.writePolicy({});
    expect((await command(instance.signedSpawn())).status).toBe(202);
    await rm(instance.paths.trust);
    expect((await command(instance.signedSpawn())).status).toBe(500);
    const keys = [keyRecord(HUB, instance.hubKey.publicKey, ['link'])];
    await writeFile(instance.paths.trust, JSON.stringify({ version: 1, keys: keys.map(keyJson) }));
    expect((await command(instance.signedSpawn())).body.code).toBe('key-purpose');
  });
});

function keyJson(record: ReturnType<typeof keyRecord>): Record<string, unknown> {
  return { ...record, publicKey: Buffer.from(record.publicKey).toString('hex') };
}

function changed(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  // A byte of the work item's text, inside the signed payload.
  const at = Buffer.from(copy).indexOf('Do it.');
  copy[at] = 'd'.charCodeAt(0);
  return copy;
}
