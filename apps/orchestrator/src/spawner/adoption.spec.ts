import { PassThrough } from 'node:stream';
import { createLogger } from '@capstan/platform';
import type { KillEpoch } from '@capstan/protocol';
import type { KillHandle, RunningSandbox } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { Sandboxes } from '../../../../test/support/sandboxes.js';
import { planFor } from '../../test/plans.js';
import { TestApi } from '../../test/test-api.js';
import { Adoption } from './adoption.service.js';
import { CannotGoOn } from './cannot-go-on.js';
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

  /** @param find what the driver finds: unless told nothing, because whether it is asked at all is what counts */
  async function attempt(
    find: () => Promise<RunningSandbox | undefined> = async () => undefined,
    { spawner = async () => undefined, patienceMs }: { spawner?: () => Promise<void>; patienceMs?: number } = {},
  ): Promise<boolean> {
    const adoption = new Adoption(
      {
        store: api.store,
        sessions: { recall: async () => record },
        reaper: api.reaper,
        driver: {
          adopt: async (id, handle) => {
            asked.push([id, handle]);
            return find();
          },
        },
        spawner: { adopt: spawner },
        logger,
      },
      patienceMs,
    );
    return adoption.attempt(plan.agentId);
  }

  const sandbox = (): RunningSandbox =>
    ({ stdout: new PassThrough(), stderr: new PassThrough() }) as Partial<RunningSandbox> as RunningSandbox;

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

  it(
    'is tried again where a fault may pass, and not where it cannot go on',
    proves('ORC-109', async () => {
      await left();
      const faults = [new Error('Docker does not answer'), new Error('nor now')];
      const found: RunningSandbox[] = [];
      const find = async (): Promise<RunningSandbox> => {
        const fault = faults.pop();
        if (fault !== undefined) throw fault;
        found.push(sandbox());
        return found.at(-1) ?? sandbox();
      };
      const spawner = async (): Promise<void> => {
        if (found.length === 1) throw new Error('no socket yet');
      };
      expect(await attempt(find, { spawner })).toBe(true);
      expect(asked).toHaveLength(4);
      expect(found.map(({ stdout, stderr }) => [stdout.destroyed, stderr.destroyed])).toEqual([
        [true, true],
        [false, false],
      ]);
      const cannot = async (): Promise<void> => {
        throw new CannotGoOn('its repository is gone');
      };
      expect(await attempt(find, { spawner: cannot })).toBe(false);
      expect(asked).toHaveLength(5);
      const never = async (): Promise<undefined> => {
        throw new Error('Docker is gone');
      };
      expect(await attempt(never, { patienceMs: 0 })).toBe(false);
      expect(asked).toHaveLength(6);
    }),
  );

  it('that has ended meanwhile leaves no pipe open', async () => {
    await left();
    const found = sandbox();
    const find = async (): Promise<RunningSandbox> => {
      await api.store.change(plan.agentId, { state: 'killed' });
      return found;
    };
    expect(await attempt(find)).toBe(false);
    expect([found.stdout.destroyed, found.stderr.destroyed]).toEqual([true, true]);
  });

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
