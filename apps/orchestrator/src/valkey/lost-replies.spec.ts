import { closeValkey, connectValkey } from '@capstan/platform';
import type { AgentStateName } from '@capstan/protocol';
import type { Redis } from 'ioredis';
import { proves } from '../../../../test/support/proves.js';
import { startTestValkey } from '../../../../test/support/test-valkey.js';
import { ValkeyRelay } from '../../../../test/support/valkey-relay.js';
import { planFor } from '../../test/plans.js';
import type { SpawnPlan } from '../spawner/spawn-plan.js';
import { AgentStore, type Claim } from './agent.store.js';
import { KEYS } from './keys.js';

jest.setTimeout(60_000);

/** Once an agent was killed because the reply to `running` was lost: the client sends again what it has no reply to. */
describe('a step of an agent whose reply is lost', () => {
  const held = new AsyncDisposableStack();
  let relay: ValkeyRelay;
  let client: Redis;
  let store: AgentStore;
  let plan: SpawnPlan;

  beforeAll(async () => {
    const { url } = held.use(await startTestValkey());
    relay = held.use(await ValkeyRelay.start(url));
    client = held.adopt(await connectValkey(relay.url), closeValkey);
    store = new AgentStore(client);
  });
  beforeEach(async () => {
    await client.flushall();
    plan = planFor();
  });
  afterAll(() => held.disposeAsync());

  /** The same as otherwise, and the step was taken once. */
  async function lost<T>(step: () => Promise<T>): Promise<T> {
    const [before, told] = [relay.lost, await client.xlen(KEYS.events)];
    relay.loseReply();
    const answer = await step();
    expect(relay.lost).toBe(before + 1);
    expect(await client.xlen(KEYS.events)).toBe(told + 1);
    return answer;
  }

  async function claimed(): Promise<Claim> {
    await store.create(plan, 'digest', 100);
    const claim = await store.claim(plan.agentId);
    if (claim.kind !== 'claimed') throw new Error(claim.kind);
    return claim;
  }

  it(
    'makes the agent, and makes it for whoever asked first',
    proves('ORC-107', async () => {
      const created = await lost(() => store.create(plan, 'digest', 1));
      expect(created).toMatchObject({ kind: 'created', agent: { state: 'queued', revision: 1 } });
      expect(await store.create(plan, 'digest', 1)).toMatchObject({ kind: 'exists' });
    }),
  );

  it(
    'claims the agent, once, and with the token that counts',
    proves('ORC-109', async () => {
      await store.create(plan, 'digest', 100);
      const claim = await lost(() => store.claim(plan.agentId));
      if (claim.kind !== 'claimed') throw new Error(claim.kind);
      expect(claim).toMatchObject({ plan: { agentId: plan.agentId }, attempt: 1, agent: { state: 'spawning' } });
      expect(await store.claim(plan.agentId)).toEqual({ kind: 'refused', state: 'spawning' });
      const { fence } = claim;
      expect(await store.change(plan.agentId, { fence, state: 'running' })).toMatchObject({ kind: 'changed' });
    }),
  );

  it.each<[AgentStateName, AgentStateName[]]>([
    ['running', []],
    ['queued', []],
    ['failed', []],
    ['completed', ['running']],
    ['killed', ['running']],
  ])('moves the agent to %s, and is no illegal change', (state, before) =>
    proves('ORC-109', async () => {
      const { fence } = await claimed();
      for (const each of before) await store.change(plan.agentId, { fence, state: each });
      const changed = await lost(() => store.change(plan.agentId, { fence, state, patch: { unsandboxed: true } }));
      expect(changed).toMatchObject({ kind: 'changed', agent: { state, unsandboxed: true } });
      expect(await store.find(plan.agentId)).toEqual(changed.kind === 'changed' ? changed.agent : undefined);
      // Another's is what it always was.
      expect((await store.change(plan.agentId, { fence, state })).kind).toBe(state === 'queued' ? 'fenced' : 'illegal');
    })(),
  );

  it(
    'gives the agent to the process that takes it over, with the token that counts',
    proves('ORC-109', async () => {
      const { fence } = await claimed();
      await store.change(plan.agentId, { fence, state: 'running' });
      relay.loseReply();
      const adopted = await store.adopt(plan.agentId);
      const change = { fence: adopted?.fence ?? 0, state: 'completed' } as const;
      expect(await store.change(plan.agentId, change)).toMatchObject({ kind: 'changed' });
    }),
  );
});
