import { AgentState, KillOutcome, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { EventStore } from '../streams/event.store.js';
import { TestFederation } from '../../test/test-federation.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let federation: TestFederation;
let hub: TestFederation['hub'];
let spoke: TestFederation['spoke'];
let other: TestFederation['other'];

beforeAll(async () => {
  federation = await TestFederation.start();
  ({ hub, spoke, other } = federation);
});

afterAll(() => federation[Symbol.asyncDispose]());

const spawnBody = (overrides?: object) => federation.spawnBody(overrides);
const spawned = (overrides?: object) => federation.spawned(overrides);

describe('agents as last reported', () => {
  test('an older revision never replaces a newer one', async () => {
    const { agentId } = await spawned();
    expect((await hub.get(`agents/${agentId}`)).status).toBe(404);
    for (const [state, revision] of [
      [AgentState.RUNNING, 5n],
      [AgentState.QUEUED, 1n],
      [AgentState.SPAWNING, 4n],
    ] as const) {
      expect(await spoke.offer(spoke.event(agentId, state, revision), 'events')).toEqual({ is: 'acknowledged' });
    }
    expect((await hub.get(`agents/${agentId}`)).body).toMatchObject({ state: 'running', revision: 5 });
    const { body } = await hub.get<{ agentId: string }[]>('agents');
    expect(body.find((each) => each.agentId === agentId)).toMatchObject({ instance: 'harbor', state: 'running' });
  });

  test('an instance has no say about an agent of another', async () => {
    const { agentId } = await spawned();
    await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 2n), 'events');
    const claim = other.event(agentId, AgentState.KILLED, 99n);
    expect(await other.offer(claim, 'events')).toMatchObject({ is: 'rejected', code: 'wrong-issuer' });
    const forged = other.event(agentId, AgentState.KILLED, 99n, spoke.reaper);
    expect(await other.offer(forged, 'events')).toMatchObject({ is: 'rejected', code: 'key-unknown' });
    expect((await hub.get(`agents/${agentId}`)).body).toMatchObject({ instance: 'harbor', state: 'running' });
  });

  test('an absurd revision or id harms only itself', async () => {
    expect(await spoke.offer(spoke.event('absurd', AgentState.RUNNING, (1n << 64n) - 1n))).toMatchObject({
      code: 'payload-malformed',
    });
    expect(await spoke.offer(spoke.event('../etc', AgentState.RUNNING, 1n))).toMatchObject({ code: 'id-malformed' });
    expect(await spoke.offer(spoke.event('a-fine-one', AgentState.RUNNING, 1n))).toEqual({ is: 'acknowledged' });
  });
});

describe('an agent that stalls', () => {
  test(
    'is told in the stream of events with its reason and what the owner makes of it, once, and that it goes on',
    proves('ORC-L5', async () => {
      const { agentId } = await spawned();
      await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 2n), 'events');
      const stalled = spoke.stall(agentId, { reason: 'No line\u001b[2J for 60 s.', action: 'kill' });
      for (const event of [stalled, stalled, spoke.stall(agentId, { stalled: false, silentMs: 0n, action: 'none' })])
        expect(await spoke.offer(event, 'events')).toEqual({ is: 'acknowledged' });
      const { body } = await hub.get<{ entries: object[] }>(`agents/${agentId}`);
      expect(body).toMatchObject({ state: 'running', revision: 2 });
      const store = hub.app.get(EventStore);
      const { events } = await store.after(0n);
      expect(events.filter(({ subject, kind }) => subject === agentId && /stalled|goes-on/.test(kind))).toMatchObject([
        {
          kind: 'agent.stalled',
          detail: { instance: 'harbor', reason: 'No line[2J for 60 s.', action: 'kill', silentMs: 60_000 },
        },
        { kind: 'agent.goes-on', detail: { instance: 'harbor', silentMs: 0 } },
      ]);
    }),
  );

  test('is told by its own instance alone, in words that the protocol knows', async () => {
    const { agentId } = await spawned();
    await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 2n), 'events');
    expect(await other.offer(other.stall(agentId), 'events')).toMatchObject({ code: 'wrong-issuer' });
    expect(await spoke.offer(spoke.stall(agentId, { action: 'boast' }))).toMatchObject({ code: 'payload-malformed' });
    expect(await spoke.offer(spoke.stall('../etc'))).toMatchObject({ code: 'id-malformed' });
  });
});

test('an agent id is given once', async () => {
  const { agentId } = await spawned({ agentId: newId() });
  expect(await hub.post('agents/spawn', spawnBody({ agentId }))).toMatchObject({
    status: 409,
    body: { code: 'agent-exists' },
  });
  const both = newId();
  const replies = await Promise.all([1, 2].map(() => hub.post('agents/spawn', spawnBody({ agentId: both }))));
  expect(replies.map(({ status }) => status).sort()).toEqual([202, 409]);
});

test('a spawn with wrong fields names each of them', async () => {
  const body = {
    instance: 'harbor',
    agentType: 'boss',
    context: { workItems: [], branch: 7 },
    options: { priority: 11 },
    extra: true,
  };
  const { status, body: problem } = await hub.post<{ code: string; errors: { field: string }[] }>('agents/spawn', body);
  expect(status).toBe(400);
  expect(problem.code).toBe('validation');
  const fields = [
    'agentType',
    'context.branch',
    'context.repository',
    'context.workItems',
    'extra',
    'options.priority',
  ];
  expect([...new Set(problem.errors.map(({ field }) => field))].sort()).toEqual(fields);
  expect(await hub.post('agents/spawn', spawnBody({ onHubLost: {} }))).toMatchObject({
    status: 400,
    body: { errors: [{ field: 'onHubLost' }] },
  });
  const nul = spawnBody({ context: { repository: 'a\0b', workItems: ['x\ud800'] } });
  expect(await hub.post('agents/spawn', nul)).toMatchObject({ status: 400 });
});

test('an unknown instance is 404, an unknown agent too', async () => {
  expect(await hub.post('agents/spawn', spawnBody({ instance: 'nowhere' }))).toMatchObject({
    status: 404,
    body: { code: 'instance-unknown' },
  });
  for (const path of ['agents/nobody', 'agents/nobody/status', 'agents/nobody/logs']) {
    expect(await hub.get(path)).toMatchObject({ status: 404, body: { code: 'agent-unknown' } });
  }
  expect(await hub.post('agents/nobody/kill')).toMatchObject({ status: 404, body: { code: 'agent-unknown' } });
  expect(await hub.get('agents/Not..An-Id/status')).toMatchObject({ status: 400, body: { code: 'id-malformed' } });
});

test('an agent that was never seen can be killed where it would start, not where it is not', async () => {
  spoke.onOrder = (order) => {
    if (order.command.body.case !== 'kill') return;
    const observation = spoke.observation(order, order.command.body.value.agentId, KillOutcome.TOMBSTONED);
    void spoke.offer(
      spoke.receipt(order, { case: 'killed', value: { outcome: KillOutcome.TOMBSTONED, observation } }),
      'kill',
    );
  };
  const unseen = await hub.post(`agents/${newId()}/kill`, { instance: 'harbor' });
  spoke.onOrder = () => undefined;
  expect(unseen).toMatchObject({ status: 200, body: { outcome: 'tombstoned', confirmed: true } });
  const { agentId } = await spawned();
  expect(await hub.post(`agents/${agentId}/kill`, { instance: 'quay' })).toMatchObject({
    status: 404,
    body: { code: 'agent-unknown' },
  });
});

test('logs come from the instance, stripped of what a terminal would obey', async () => {
  const { agentId } = await spawned();
  spoke.onOrder = (order) => {
    if (order.command.body.case !== 'logs') return;
    expect(order.command.body.value).toMatchObject({ agentId, after: 3n, limit: 2 });
    const line = { sequence: 4n, atMs: 1n << 62n, source: 'agent', text: '\u001b[2Jhello' };
    void spoke.offer(spoke.receipt(order, { case: 'logs', value: { lines: [line], next: 4n, gap: false } }));
  };
  const { status, body } = await hub.get(`agents/${agentId}/logs?after=3&limit=2`);
  spoke.onOrder = () => undefined;
  expect(status).toBe(200);
  expect(body).toEqual({
    lines: [{ sequence: 4, at: '1970-01-01T00:00:00.000Z', source: 'agent', text: '[2Jhello' }],
    next: 4,
    gap: false,
  });
});
