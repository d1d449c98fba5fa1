import { createLogger } from '@capstan/platform';
import type { KillEpoch } from '@capstan/protocol';
import type { KillHandle } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { Sandboxes } from '../../../../test/support/sandboxes.js';
import { planFor } from '../../test/plans.js';
import { TestApi } from '../../test/test-api.js';
import { Adoption } from './adoption.service.js';
import type { SessionRecord } from './session.js';
import type { SpawnPlan } from './spawn-plan.js';

const logger = createLogger('test', { level: 'silent' });

describe('an agent that has outlived its orchestrator', () => {
  let api: TestApi;
  let sandboxes: Sandboxes;
  let plan: SpawnPlan;
  let record: SessionRecord | undefined;
  let asked: [string, KillHandle][];

  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());
  beforeEach(() => {
    asked = [];
    sandboxes = new Sandboxes();
    plan = planFor();
    const { agentId, taskId } = plan;
    const worktree = { agentId, taskId, dir: '/w', adminDir: '/a', commit: 'c' };
    record = { agentId, uid: 1, gid: 1, worktree, targetRef: 'refs/heads/main' };
  });
  afterEach(() => sandboxes[Symbol.asyncDispose]());

  async function runs(): Promise<void> {
    await api.store.create(plan, 'digest', 100);
    await api.store.claim(plan.agentId);
    await api.store.change(plan.agentId, { state: 'running' });
  }

  /** An agent that runs, as its orchestrator has left it. */
  async function left(over: Partial<SpawnPlan> = {}, registeredUnder: KillEpoch[] = []): Promise<void> {
    plan = { ...plan, ...over };
    await runs();
    const { handle } = await sandboxes.prepare({ agentId: plan.agentId });
    const { agentId, tenant } = plan;
    const answer = await api.reaper.register({ agentId, tenant, handle, killEpochs: registeredUnder, killAfterMs: 0n });
    expect(answer).toEqual({ ok: true });
  }

  /** The driver finds nothing: whether it is asked at all is what counts. */
  async function attempt(): Promise<boolean> {
    const adoption = new Adoption({
      store: api.store,
      sessions: { recall: async () => record },
      reaper: api.reaper,
      driver: {
        adopt: async (id, handle) => {
          asked.push([id, handle]);
          return undefined;
        },
      },
      spawner: { adopt: async () => undefined },
      logger,
    });
    return adoption.attempt(plan.agentId);
  }

  it(
    'is looked for as the reaper has registered it, and is lost where it is not found',
    proves('ORC-109', async () => {
      await left();
      expect(await attempt()).toBe(false);
      const { agents } = await api.reaper.describe();
      const registered = agents.find(({ agentId }) => agentId === plan.agentId)?.handle;
      expect(asked).toEqual([[plan.agentId, registered]]);
    }),
  );

  it.each<[string, () => Promise<unknown>]>([
    ['was still being started', async () => api.store.create(plan, 'digest', 100)],
    ['had sealed secrets', () => left({ secretNames: ['TOKEN'] })],
    [
      'has left no notes',
      async () => {
        record = undefined;
        await left();
      },
    ],
    ['is not held by the reaper', () => runs()],
    [
      'was seen dead by the reaper',
      async () => {
        await left();
        await api.reaper.kill({ agentId: plan.agentId, timeoutMs: 5000 });
      },
    ],
    [
      'was meant by a kill-all',
      async () => {
        await api.reaper.killAll({ scope: 'instance', epoch: 1n, timeoutMs: 5000 });
        await api.reaper.rearm({ scope: 'instance' });
        // As if the kill-all had come while it was being registered.
        await left({}, (await api.reaper.describe()).killEpochs);
      },
    ],
  ])('is not looked for where it %s', (_, arrange) =>
    proves('ORC-109', async () => {
      await arrange();
      expect(await attempt()).toBe(false);
      expect(asked).toEqual([]);
    })(),
  );
});
