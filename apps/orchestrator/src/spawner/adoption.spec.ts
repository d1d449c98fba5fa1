import { renameSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { createLogger } from '@capstan/platform';
import type { KillEpoch } from '@capstan/protocol';
import type { AdoptedSandbox, KillHandle, PreparedSandbox } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { AdoptionRoom } from '../../test/adoption-room.js';
import { TestApi } from '../../test/test-api.js';
import { Adoption } from './adoption.service.js';
import type { SpawnPlan } from './spawn-plan.js';
import type { WorkPlace } from './work-place.js';

jest.setTimeout(120_000);

const logger = createLogger('test', { level: 'silent' });

describe('an agent that has outlived its orchestrator', () => {
  let api: TestApi;
  let room: AdoptionRoom;
  let place: WorkPlace;
  let asked: [string, KillHandle][];
  let released: AdoptedSandbox[];

  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());
  beforeEach(async () => {
    [asked, released] = [[], []];
    room = await AdoptionRoom.start(api);
    place = await room.settleIn();
  });
  afterEach(() => room[Symbol.asyncDispose]());

  /** An agent that runs, as its orchestrator has left it. */
  async function left(over: Partial<SpawnPlan> = {}, registeredUnder: KillEpoch[] = []): Promise<PreparedSandbox> {
    room.plan = { ...room.plan, ...over };
    await room.runs();
    return room.launch(registeredUnder);
  }

  /** @param find what the driver finds: unless told nothing, because whether it is asked at all is what counts */
  async function attempt(
    find: () => Promise<AdoptedSandbox | undefined> = async () => undefined,
    patienceMs?: number,
  ): Promise<boolean> {
    const { store, reaper } = api;
    const { sessions, adopted } = room;
    const driver = {
      adopt: async (id: string, handle: KillHandle): Promise<AdoptedSandbox | undefined> => {
        asked.push([id, handle]);
        return find();
      },
    };
    const adoption = new Adoption({ store, sessions, reaper, driver, adopted, logger }, patienceMs);
    return adoption.attempt(room.plan.agentId);
  }

  /** As a driver that finds a sandbox again opens its pipes anew. */
  const foundAgain = (sandbox: PreparedSandbox): AdoptedSandbox => {
    const [stdout, stderr] = [sandbox.stdout, sandbox.stderr].map((it) => it.pipe(new PassThrough()));
    const again: AdoptedSandbox = Object.create(sandbox) as AdoptedSandbox;
    const release = (): void => {
      released.push(again);
      for (const output of [again.stdout, again.stderr]) output.destroy();
    };
    return Object.assign(again, { stdout, stderr, release });
  };

  it(
    'is looked for as the reaper has registered it, and is lost where it is not found',
    proves('ORC-109', async () => {
      await left();
      expect(await attempt()).toBe(false);
      const { agents } = await api.reaper.describe();
      const registered = agents.find(({ agentId }) => agentId === room.plan.agentId)?.handle;
      expect(asked).toEqual([[room.plan.agentId, registered]]);
    }),
  );

  it(
    'is tried again where a fault may pass: at the driver, and at its sockets',
    proves('ORC-109', async () => {
      const sandbox = await left();
      const { runDirectory } = place.session;
      const elsewhere = `${runDirectory}.elsewhere`;
      const [missing, there] = [() => renameSync(runDirectory, elsewhere), () => renameSync(elsewhere, runDirectory)];
      const fault = (): void => {
        throw new Error('Docker does not answer');
      };
      const steps = [fault, fault, missing, there];
      const found: AdoptedSandbox[] = [];
      const find = async (): Promise<AdoptedSandbox> => {
        steps.shift()?.();
        const again = foundAgain(sandbox);
        found.push(again);
        return again;
      };
      expect(await attempt(find)).toBe(true);
      expect(asked).toHaveLength(4);
      expect(found).toHaveLength(2);
      expect(released.map((it) => found.indexOf(it))).toEqual([0]);
      expect(api.runs.get(room.plan.agentId)).toBeDefined();
    }),
  );

  it(
    'is not tried again where it cannot go on, nor for ever',
    proves('ORC-109', async () => {
      const sandbox = await left();
      renameSync(place.repository.dir, `${place.repository.dir}.elsewhere`);
      expect(await attempt(async () => foundAgain(sandbox))).toBe(false);
      expect([asked.length, released.length]).toEqual([1, 1]);
      const never = async (): Promise<undefined> => {
        throw new Error('Docker is gone');
      };
      expect(await attempt(never, 0)).toBe(false);
      expect(asked).toHaveLength(2);
      expect(api.runs.get(room.plan.agentId)).toBeUndefined();
    }),
  );

  it('that has ended meanwhile is neither read nor watched', async () => {
    const sandbox = await left();
    const find = async (): Promise<AdoptedSandbox> => {
      await api.store.change(room.plan.agentId, { state: 'killed' });
      return foundAgain(sandbox);
    };
    expect(await attempt(find)).toBe(false);
    expect(released).toHaveLength(1);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['was still being started', async () => api.store.create(room.plan, 'digest', 100)],
    ['had sealed secrets', () => left({ secretNames: ['TOKEN'] })],
    [
      'has left no notes',
      async () => {
        await left();
        await room.sessions.remove(room.plan.agentId);
      },
    ],
    ['is not held by the reaper', () => room.runs()],
    [
      'was seen dead by the reaper',
      async () => {
        await left();
        await api.reaper.kill({ agentId: room.plan.agentId, timeoutMs: 5000 });
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
