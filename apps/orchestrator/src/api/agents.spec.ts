import { request } from 'node:http';
import { agentId, newId, type AgentView } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { ownSpawn, TestApi } from '../../test/test-api.js';
import { TOKEN } from '../../test/test-instance.js';

describe('the API of agents', () => {
  let api: TestApi;
  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());

  it(
    'says that it is healthy to everybody, and nothing more',
    proves('ORC-102', async () => {
      const { status, body } = await api.call('GET', '/health', undefined, '');
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
    ['GET', '/agents/a/samples'],
    ['GET', '/queue'],
    ['GET', '/queue/counts'],
    ['POST', '/queue/pause'],
    ['POST', '/queue/resume'],
    ['GET', '/tasks/a'],
    ['POST', '/tasks/a/kill'],
    ['GET', '/metrics'],
    ['POST', '/commands'],
    ['POST', '/agents/spawn'],
    ['POST', '/agents/a/kill'],
    ['POST', '/agents/a/messages'],
    ['POST', '/agents/a/noticed-kill'],
    ['POST', '/agents/kill-all'],
    ['POST', '/agents/rearm'],
  ])('asks for the token at %s %s', async (method, path) => {
    for (const token of ['', 'wrong']) {
      const { status, type, body } = await api.call(method, path, undefined, token);
      expect({ status, type, code: body['code'] }).toMatchObject({ status: 401, code: 'unauthorized' });
      expect(type).toContain('application/problem+json');
    }
  });

  it("queues the owner's spawn and gives the agent's id", async () => {
    const { status, body } = await api.call<{ agentId: string }>('POST', '/agents/spawn', ownSpawn());
    expect(status).toBe(202);
    expect(await api.store.findPlan(agentId(body.agentId))).toMatchObject({
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
  });

  it('names each wrong field of a spawn', async () => {
    const { status, body } = await api.call<{ code: string; errors: { field: string }[] }>('POST', '/agents/spawn', {
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
    const { status, body } = await api.call('POST', '/agents/spawn', ownSpawn(over));
    expect([status, body['code']]).toEqual([422, code]);
  });

  it(
    'refuses a sandbox that the owner allows and this instance does not have, and says which ones work',
    proves('ORC-106', async () => {
      await api.instance.writePolicy({ sandboxes: ['bubblewrap', 'docker'] });
      const { status, body } = await api.call('POST', '/agents/spawn', ownSpawn({ options: { sandbox: 'docker' } }));
      expect([status, body['code']]).toEqual([422, 'sandbox-missing']);
      const asked = await api.call('POST', '/agents/spawn', ownSpawn({ options: { sandbox: 'bubblewrap' } }));
      expect(asked.status).toBe(202);
      const works = { name: 'bubblewrap', available: true, version: expect.any(String) };
      expect((await api.call('GET', '/sandboxes')).body).toEqual([works]);
      await api.instance.writePolicy({});
    }),
  );

  it(
    'tells the state of an agent with its times and error, and 404 for one that is unknown',
    proves('ORC-135', async () => {
      const { body } = await api.call<{ agentId: string }>('POST', '/agents/spawn', ownSpawn());
      const { status, body: agent } = await api.call<AgentView>('GET', `/agents/${body.agentId}/status`);
      expect(status).toBe(200);
      expect(agent).toMatchObject({ state: 'queued', startedAt: null, completedAt: null, error: null });
      expect(Date.parse(agent.queuedAt ?? '')).toBeGreaterThan(Date.now() - 60_000);
      const error = { code: 'agent-crashed', sentence: 'It crashed.' };
      await api.store.change(agentId(body.agentId), { state: 'failed', patch: { error } });
      const after = await api.call<AgentView>('GET', `/agents/${body.agentId}/status`);
      expect(after.body).toMatchObject({ state: 'failed', error, completedAt: expect.any(String) });
      const unknown = await api.call('GET', `/agents/${newId()}/status`);
      expect([unknown.status, unknown.body['code']]).toEqual([404, 'agent-unknown']);
    }),
  );

  it('refuses an id that can be none', async () => {
    expect((await api.call('GET', '/agents/No%20Id/status')).body).toMatchObject({ status: 400, code: 'id-malformed' });
    expect((await api.call('POST', '/agents/..%2f..%2fetc/kill')).body).toMatchObject({
      status: 400,
      code: 'id-malformed',
    });
  });

  it('gives pages of an agent’s log', async () => {
    const { body: agent } = await api.command(api.instance.signedSpawn());
    const log = await api.monitor.begin(agentId(agent.agentId));
    for (let count = 1; count <= 3; count += 1) log.append('agent', `line ${String(count)}`);
    const page = await api.call('GET', `/agents/${agent.agentId}/logs?after=1&limit=1`);
    expect(page.body).toMatchObject({ next: 2, gap: false, lines: [{ sequence: 2, source: 'agent', text: 'line 2' }] });
    await api.monitor.end(agentId(agent.agentId));
    expect((await api.call('GET', `/agents/${agent.agentId}/logs`)).body).toMatchObject({ next: 3 });
    const wrong = await api.call<{ errors: { field: string }[] }>(
      'GET',
      `/agents/${agent.agentId}/logs?after=-1&limit=x`,
    );
    expect([wrong.status, [...new Set(wrong.body.errors.map(({ field }) => field))]]).toEqual([
      400,
      ['after', 'limit'],
    ]);
    expect((await api.call('GET', `/agents/${newId()}/logs`)).status).toBe(404);
  });

  it('gives the next lines as soon as there are any, and nothing where none came in time', async () => {
    const { body: agent } = await api.command(api.instance.signedSpawn());
    const log = await api.monitor.begin(agentId(agent.agentId));
    log.append('agent', 'one');
    const path = `/agents/${agent.agentId}/logs`;
    const next = api.call('GET', `${path}?after=1&waitMs=20000`);
    expect((await api.call('GET', `${path}?after=1&waitMs=50`)).body).toMatchObject({ lines: [], next: 1, gap: false });
    log.append('agent', 'two');
    expect((await next).body).toMatchObject({ lines: [{ sequence: 2, text: 'two' }], next: 2, gap: false });
    log.append('agent', 'x'.repeat(500));
    log.append('agent', 'x'.repeat(500));
    const cut = await api.call<{ lines: unknown[]; next: number }>('GET', `${path}?after=1&waitMs=1000&mostBytes=700`);
    expect(cut.body).toMatchObject({ lines: [{ sequence: 2 }, { sequence: 3 }], next: 3 });
    const one = await api.call('GET', `${path}?after=2&waitMs=1000&mostBytes=1`);
    expect(one.body).toMatchObject({ lines: [{ sequence: 3 }], next: 3 });
    await api.monitor.end(agentId(agent.agentId));
  });

  it('lists the agents by pages, the newest first', async () => {
    const made: string[] = [];
    for (let count = 0; count < 3; count += 1)
      made.unshift((await api.call<{ agentId: string }>('POST', '/agents/spawn', ownSpawn())).body.agentId);
    const page = async (search: string): Promise<string[]> =>
      (await api.call<AgentView[]>('GET', `/agents?${search}`)).body.map((agent) => agent.agentId);
    const first = await page('limit=2');
    const second = await page(`limit=2&after=${first[1] ?? ''}`);
    expect([...first, ...second].slice(0, 3)).toHaveLength(3);
    expect([...first, ...second]).toEqual(await page('limit=4'));
    expect([...first, ...second].slice(0, 3).sort()).toEqual([...made].sort());
    expect((await api.call('GET', `/agents?after=${newId()}`)).body).toMatchObject({ code: 'agent-unknown' });
  });

  it(
    'streams every change in order, and goes on behind a cursor',
    proves('ORC-107', async () => {
      const { body: agent } = await api.command(api.instance.signedSpawn());
      const id = agentId(agent.agentId);
      await api.store.claim(id);
      await api.store.change(id, { state: 'running' });
      const seen = await readEvents('/agents/events?after=0', (events) => events.some((e) => e.is(id, 'running')));
      const states = seen.filter((e) => e.agent.agentId === id).map((e) => e.agent.state);
      expect(states).toEqual(['queued', 'spawning', 'running']);
      const cursor = seen.find((e) => e.is(id, 'spawning'))?.id ?? '';
      const later = readEvents(`/agents/events?after=${cursor}`, (events) => events.some((e) => e.is(id, 'completed')));
      await api.store.change(id, { state: 'completed' });
      expect((await later).map((e) => e.agent.state)).toEqual(['running', 'completed']);
      expect((await api.call('GET', '/agents/events?after=yesterday')).status).toBe(400);
    }),
  );

  it(
    'refuses more readers than it has places for, and takes another once one has gone',
    proves('ORC-107', async () => {
      const open = (): Promise<{ status: number; end: () => void }> =>
        new Promise((resolve, reject) => {
          const headers = { authorization: `Bearer ${TOKEN}` };
          const req = request({ socketPath: api.socket, path: '/agents/events', headers }, (res) => {
            res.resume();
            resolve({ status: res.statusCode ?? 0, end: () => req.destroy() });
          });
          req.on('error', reject);
          req.end();
        });
      const readers = await Promise.all(Array.from({ length: 64 }, open));
      expect(new Set(readers.map(({ status }) => status))).toEqual(new Set([200]));
      expect((await open()).status).toBe(429);
      readers.pop()?.end();
      const next = await until('there is a place', async () => {
        const reader = await open();
        return reader.status === 200 ? reader : undefined;
      });
      for (const { end } of [...readers, next]) end();
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
      const req = request({ socketPath: api.socket, path, headers }, (res) => {
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
});
