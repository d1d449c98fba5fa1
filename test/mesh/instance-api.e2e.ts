import { statSync } from 'node:fs';
import { Mesh } from '@capstan/localmesh';
import { agentIn, spawnAgent } from '../support/agents.js';
import { InstanceApi } from '../support/instance-api.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';

jest.setTimeout(300_000);

describe("the socket of an instance's orchestrator", () => {
  const repository = new TestRepository();
  let mesh: Mesh;
  let api: InstanceApi;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
    api = new InstanceApi(mesh.instance('quay'));
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  it(
    'is open to its owner only, and says no more than that it is healthy without the token',
    proves('ORC-102', async () => {
      expect(statSync(mesh.instance('quay').orchestratorSocket).mode & 0o777).toBe(0o600);
      for (const token of ['', 'wrong', api.token]) {
        const { status, body } = await api.call('GET', '/health', undefined, token);
        expect({ status, fields: Object.keys(body).sort() }).toEqual({
          status: 200,
          fields: ['status', 'timestamp', 'uptime'],
        });
      }
      expect(await api.call('GET', '/health/ready', undefined, '')).toMatchObject({
        status: 200,
        body: { status: 'ready' },
      });
    }),
  );

  it.each(['/queue/counts', '/agents/events', '/agents', '/agents/a/status', '/agents/a/logs', '/metrics', '/nothing'])(
    'tells a stranger nothing at %s',
    async (path) => {
      for (const token of ['', 'wrong', `${api.token}x`]) {
        expect(await api.call('GET', path, undefined, token)).toMatchObject({
          status: path === '/nothing' ? 404 : 401,
          type: expect.stringContaining('application/problem+json'),
        });
      }
    },
  );

  it('counts what waits, runs and has ended', async () => {
    const before = (await api.call<Record<string, number>>('GET', '/queue/counts')).body;
    expect(Object.keys(before).sort()).toEqual(['active', 'completed', 'failed', 'pending']);
    const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
    await agentIn(mesh, agentId, 'running');
    expect((await api.call('GET', '/queue/counts')).body).toEqual({ ...before, active: (before['active'] ?? 0) + 1 });
    await mesh.client.kill(agentId);
  });

  it(
    'streams every change of an agent in order, up to the moment when nothing of it is left',
    proves(['ORC-107', 'ORC-109', 'ORC-118'], async () => {
      const { agentId } = await spawnAgent(mesh, 'quay');
      const events = await api.events('/agents/events?after=0', (all) =>
        all.some(({ name, data }) => name === 'cleaned' && data['agentId'] === agentId),
      );
      const own = events.filter(({ data }) => data['agentId'] === agentId);
      const states = own.filter(({ name }) => name === 'agent').map(({ data }) => data['state']);
      expect([...new Set(states)]).toEqual(['queued', 'spawning', 'running', 'completed']);
      expect(own.at(-1)?.name).toBe('cleaned');
      const ids = events.map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
    }),
  );
});
