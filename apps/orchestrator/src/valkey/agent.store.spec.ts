import {
  AGENT_TRANSITIONS,
  agentId,
  newId,
  taskId,
  type AgentId,
  type AgentStateName,
  type AgentView,
} from '@capstan/protocol';
import { closeValkey, connectValkey } from '@capstan/platform';
import type { Redis } from 'ioredis';
import { proves } from '../../../../test/support/proves.js';
import { startTestValkey, type TestValkey } from '../../../../test/support/test-valkey.js';
import { planFor } from '../../test/plans.js';
import type { SpawnPlan } from '../spawner/spawn-plan.js';
import { AgentEvents } from './agent.events.js';
import { AgentStore } from './agent.store.js';
import { CHANNELS, KEYS } from './keys.js';

const STATES = Object.keys(AGENT_TRANSITIONS) as AgentStateName[];

describe('AgentStore', () => {
  let valkey: TestValkey;
  let client: Redis;
  let store: AgentStore;

  beforeAll(async () => {
    valkey = await startTestValkey();
    client = await connectValkey(valkey.url);
    store = new AgentStore(client);
  });
  beforeEach(() => client.flushall());
  afterAll(async () => {
    await closeValkey(client);
    await valkey.stop();
  });

  /** An agent that went the legal way to a state. */
  async function agentIn(state: AgentStateName): Promise<AgentId> {
    const { agentId: id } = await created();
    const way: Record<AgentStateName, AgentStateName[]> = {
      queued: [],
      spawning: ['spawning'],
      running: ['spawning', 'running'],
      completed: ['spawning', 'running', 'completed'],
      failed: ['failed'],
      killed: ['killed'],
    };
    for (const step of way[state]) {
      if (step === 'spawning') await store.claim(id);
      else await store.change(id, { state: step });
    }
    return id;
  }

  async function created(over: Partial<SpawnPlan> = {}): Promise<SpawnPlan> {
    const p = planFor(over);
    expect((await store.create(p, 'digest', 100)).kind).toBe('created');
    return p;
  }

  it(
    'gives an agent that runs to the process that takes it over, and to nobody an agent that does not run',
    proves('ORC-109', async () => {
      const { agentId: id } = await created();
      expect(await store.adopt(id)).toBeUndefined();
      const claim = await store.claim(id);
      const fence = claim.kind === 'claimed' ? claim.fence : 0;
      expect(await store.adopt(id)).toBeUndefined();
      await store.change(id, { fence, state: 'running' });
      const adopted = await store.adopt(id);
      expect(adopted).toMatchObject({ agent: { state: 'running' }, plan: { agentId: id }, attempt: 1 });
      expect(await store.change(id, { fence, state: 'completed' })).toEqual({ kind: 'fenced' });
      const changed = await store.change(id, { fence: adopted?.fence ?? 0, state: 'completed' });
      expect(changed).toMatchObject({ kind: 'changed' });
      expect(await store.adopt(id)).toBeUndefined();
    }),
  );

  it(
    'makes an agent once, however often it is asked to',
    proves(['ORC-107', 'ORC-109'], async () => {
      const p = planFor();
      const results = await Promise.all(Array.from({ length: 20 }, () => store.create(p, 'digest', 100)));
      expect(results.filter((result) => result.kind === 'created')).toHaveLength(1);
      expect(results.filter((result) => result.kind === 'exists')).toHaveLength(19);
      expect(await store.find(p.agentId)).toMatchObject({ state: 'queued', revision: 1, taskId: p.taskId });
      expect(await client.xlen('orchestrator:events')).toBe(1);
    }),
  );

  it('says by which order an existing agent was made', async () => {
    const p = await created();
    expect(await store.create(p, 'another', 100)).toMatchObject({ kind: 'exists', digest: 'digest' });
  });

  it('refuses an agent beyond the most that may live', async () => {
    await created();
    expect(await store.create(planFor(), 'digest', 1)).toEqual({ kind: 'full' });
  });

  it.each(
    STATES.flatMap((from) =>
      STATES.filter((to) => !AGENT_TRANSITIONS[from].includes(to)).map((to) => [from, to] as const),
    ),
  )('refuses to move an agent from %s to %s', (from, to) =>
    proves('ORC-109', async () => {
      const id = await agentIn(from);
      const before = await store.find(id);
      expect(await store.change(id, { state: to })).toMatchObject({ kind: 'illegal', state: from });
      expect(await store.find(id)).toEqual(before);
    })(),
  );

  it('changes nothing in an agent that has ended', async () => {
    const id = await agentIn('completed');
    expect(await store.change(id, { patch: { unsandboxed: true } })).toMatchObject({ kind: 'illegal' });
  });

  it(
    'keeps the times, the error and a revision that grows by one',
    proves('ORC-109', async () => {
      const id = await agentIn('running');
      const error = { code: 'agent-crashed', sentence: 'It crashed.' };
      const ended = await store.change(id, { state: 'failed', patch: { error } });
      expect(ended).toMatchObject({ kind: 'changed', agent: { state: 'failed', error, revision: 4 } });
      const agent = await store.find(id);
      expect(agent?.startedAt).toMatch(/^\d{4}-/);
      expect(agent?.completedAt).toMatch(/^\d{4}-/);
    }),
  );

  it('keeps an empty list a list', async () => {
    const id = await agentIn('running');
    const harvest = { branch: 'b', baseCommit: '0', commit: '1', tree: '2', files: [], pushed: true };
    await store.change(id, { state: 'completed', patch: { harvest } });
    expect((await store.find(id))?.harvest).toEqual(harvest);
  });

  it('lets one of many workers claim an agent', async () => {
    const { agentId: id } = await created();
    const claims = await Promise.all(Array.from({ length: 10 }, () => store.claim(id)));
    expect(claims.filter((claim) => claim.kind === 'claimed')).toHaveLength(1);
    expect(claims.filter((claim) => claim.kind === 'refused')).toHaveLength(9);
  });

  it('does not let a stale worker move an agent on', async () => {
    const { agentId: id } = await created();
    const stale = await store.claim(id);
    if (stale.kind !== 'claimed') throw new Error('not claimed');
    await store.change(id, { fence: stale.fence, state: 'queued' });
    expect(await store.change(id, { fence: stale.fence, state: 'failed' })).toEqual({ kind: 'fenced' });
    const fresh = await store.claim(id);
    expect(fresh).toMatchObject({ kind: 'claimed', attempt: 2 });
    expect(await store.change(id, { fence: stale.fence, state: 'running' })).toEqual({ kind: 'fenced' });
    expect((await store.find(id))?.state).toBe('spawning');
  });

  it(
    'moves the task with its newest agent, and only with it',
    proves('ORC-107', async () => {
      const task = taskId(newId());
      const first = await created({ taskId: task });
      const states = [(await store.findTask(task))?.state];
      const second = await created({ taskId: task });
      await store.change(first.agentId, { state: 'failed' });
      states.push((await store.findTask(task))?.state);
      await store.claim(second.agentId);
      states.push((await store.findTask(task))?.state);
      await store.change(second.agentId, { state: 'running' });
      states.push((await store.findTask(task))?.state);
      await store.change(second.agentId, { state: 'completed' });
      states.push((await store.findTask(task))?.state);
      expect(states).toEqual(['pending', 'pending', 'assigned', 'executing', 'completed']);
    }),
  );

  it('tells of the messages that waited in a former life of its orchestrator that they are missed, once', async () => {
    const tell = (messageId: string, state: 'waiting' | 'taken') =>
      store.noticeMessage({ agentId: agentId('one'), messageId, at: new Date().toISOString(), state });
    await tell('read', 'waiting');
    await tell('unread', 'waiting');
    await tell('read', 'taken');
    await store.missUnread();
    await store.missUnread();
    const entries = await client.xrange(KEYS.events, '-', '+');
    const told = entries.map(([, [, json = '']]) => JSON.parse(json) as { messageId: string; state: string });
    expect(told.map(({ messageId, state }) => `${messageId} ${state}`)).toEqual([
      'read waiting',
      'unread waiting',
      'read taken',
      'unread missed',
    ]);
  });

  it(
    'publishes each change, and streams them all in order from any cursor',
    proves('ORC-107', async () => {
      const subscriber = await connectValkey(valkey.url);
      const heard: string[] = [];
      const tasks: string[] = [];
      const other = await connectValkey(valkey.url);
      await other.subscribe(CHANNELS.agents, CHANNELS.tasks);
      other.on('message', (channel: string, json: string) => {
        const { state } = JSON.parse(json) as { state: string };
        (channel === CHANNELS.agents ? heard : tasks).push(state);
      });
      const events = new AgentEvents(client, subscriber);
      await events.start();
      const stop = new AbortController();
      const stream = events.read('0', stop.signal);
      const { agentId: id } = await created();
      const read = async (): Promise<{ id: string; state: string }> => {
        const { value } = await stream.next();
        if (value === undefined || value.kind !== 'agent') throw new Error('no event');
        return { id: value.id, state: (JSON.parse(value.json) as { state: string }).state };
      };
      const first = await read();
      const later = read();
      await store.claim(id);
      expect([first.state, (await later).state]).toEqual(['queued', 'spawning']);
      await store.change(id, { state: 'running' });
      await store.change(id, { state: 'completed' });
      const again = events.read(first.id, stop.signal);
      const states: string[] = [];
      for (let count = 0; count < 3; count += 1) {
        const { value } = await again.next();
        if (value?.kind === 'agent') states.push((JSON.parse(value.json) as { state: string }).state);
      }
      expect(states).toEqual(['spawning', 'running', 'completed']);
      stop.abort();
      expect(heard).toEqual(['queued', 'spawning', 'running', 'completed']);
      expect(tasks).toEqual(['pending', 'assigned', 'executing', 'completed']);
      await closeValkey(other);
      await closeValkey(subscriber);
    }),
  );

  it('tells a reader that what lies behind its cursor was dropped', async () => {
    for (let count = 0; count < 3; count += 1) await created();
    await client.xtrim('orchestrator:events', 'MAXLEN', 1);
    const stop = new AbortController();
    const { value } = await new AgentEvents(client, client).read('0', stop.signal).next();
    expect(value).toEqual({ kind: 'gap' });
  });

  it(
    'tells a reader that was slower than changes are kept what it has missed, in its place',
    proves('ORC-107', async () => {
      const { agentId: first } = await created();
      const subscriber = await connectValkey(valkey.url);
      const events = new AgentEvents(client, subscriber);
      await events.start();
      const stop = new AbortController();
      const stream = events.read('0', stop.signal);
      const told = async (): Promise<string> => {
        const { value } = await stream.next();
        return value === undefined || value.kind === 'gap' ? 'gap' : (JSON.parse(value.json) as AgentView).agentId;
      };
      expect(await told()).toBe(first);
      await created();
      const { agentId: third } = await created();
      await client.xtrim('orchestrator:events', 'MAXLEN', 1);
      expect([await told(), await told()]).toEqual(['gap', third]);
      stop.abort();
      await closeValkey(subscriber);
    }),
  );

  it('forgets an agent only once it has ended', async () => {
    const live = await agentIn('running');
    await store.forget(live);
    expect(await store.find(live)).toBeDefined();
    const ended = await agentIn('completed');
    await store.forget(ended);
    expect(await store.find(ended)).toBeUndefined();
    expect(await store.list(10)).toHaveLength(1);
  });

  it('keeps what it has acknowledged through a crash of Valkey', async () => {
    const id = await agentIn('running');
    await valkey.crash();
    await valkey.restart();
    expect((await store.find(id))?.state).toBe('running');
  });
});
