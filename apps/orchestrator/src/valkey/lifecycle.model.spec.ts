import fc from 'fast-check';
import { AGENT_TRANSITIONS, isTerminal, type AgentStateName, type AgentView } from '@capstan/protocol';
import { closeValkey, connectValkey } from '@capstan/platform';
import type { Redis } from 'ioredis';
import { proves } from '../../../../test/support/proves.js';
import { startTestValkey, type TestValkey } from '../../../../test/support/test-valkey.js';
import { until } from '../../../../test/support/until.js';
import { AgentModel, type Step } from '../../test/agent-model.js';
import { AgentStore } from './agent.store.js';
import { CHANNELS, KEYS } from './keys.js';

jest.setTimeout(120_000);

const AGENTS = 3;
const STATES = Object.keys(AGENT_TRANSITIONS) as AgentStateName[];

const agent = fc.nat(AGENTS - 1);
const fence = fc.constantFrom('none' as const, 'newest' as const, 'stale' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('create' as const), agent }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('claim' as const), agent }) },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('move' as const), agent, to: fc.constantFrom(...STATES), fence }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('patch' as const), agent, fence }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), agent }) },
);

describe('the life of agents in Valkey', () => {
  let valkey: TestValkey;
  let client: Redis;
  let subscriber: Redis;
  let heard: string[] = [];

  beforeAll(async () => {
    valkey = await startTestValkey();
    client = await connectValkey(valkey.url);
    subscriber = await connectValkey(valkey.url);
    await subscriber.subscribe(CHANNELS.agents, CHANNELS.tasks);
    subscriber.on('message', (channel: string, json: string) => {
      if (channel === CHANNELS.agents) heard.push(json);
    });
  });
  afterAll(async () => {
    await closeValkey(subscriber);
    await closeValkey(client);
    await valkey.stop();
  });

  it(
    'takes the legal steps and no other, tells each by exactly one event, and numbers them without a gap',
    proves(['ORC-107', 'ORC-109'], () =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
          await client.flushall();
          heard = [];
          const store = new AgentStore(client);
          const model = new AgentModel(store, AGENTS);
          for (const each of steps) await model.try(each);
          await agrees(model, store);
        }),
        { numRuns: 100 },
      ),
    ),
  );

  async function agrees(model: AgentModel, store: AgentStore): Promise<void> {
    const entries = await client.xrange(KEYS.events, '-', '+');
    const told = entries.map(([, [, json = '']]) => JSON.parse(json) as AgentView);
    expect(told.map(({ agentId, revision, state }) => ({ agentId, revision, state }))).toEqual(model.events);
    // A subscriber hears the same, in the same order.
    await until('all was published', () => heard.length >= told.length);
    expect(heard.map((json) => JSON.parse(json) as AgentView)).toEqual(told);
    for (const view of told) {
      const hasRun = told.some((it) => it.agentId === view.agentId && it.state === 'running');
      if (view.state === 'running') expect(view.startedAt).not.toBeNull();
      if (!hasRun) expect(view.startedAt).toBeNull();
      expect(view.completedAt !== null).toBe(isTerminal(view.state));
    }
    await isKept(model, store);
  }

  /** The sets by which others find agents say the same as the agents. */
  async function isKept(model: AgentModel, store: AgentStore): Promise<void> {
    const states = model.states();
    const ids = (belongs: (state: AgentStateName) => boolean): string[] =>
      [...states].filter(([, state]) => belongs(state)).map(([id]) => id);
    for (const [id, state] of states) expect(await store.find(id)).toMatchObject({ state });
    expect((await store.list(100))?.map(({ agentId }) => agentId).sort()).toEqual(ids(() => true).sort());
    expect((await store.live()).sort()).toEqual(ids((state) => !isTerminal(state)).sort());
    const isStarted = (state: AgentStateName): boolean => state === 'spawning' || state === 'running';
    expect((await store.startedAgents()).sort()).toEqual(ids(isStarted).sort());
    for (const { task } of model.agents) expect((await store.findTask(task))?.state).toBe(model.taskStates.get(task));
  }
});
