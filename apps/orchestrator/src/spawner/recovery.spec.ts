import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createLogger } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { BubblewrapDriver, SandboxDrivers, SandboxFault, type AdoptedSandbox } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { AdoptionRoom } from '../../test/adoption-room.js';
import { HeldDriver } from '../../test/held-driver.js';
import { planFor } from '../../test/plans.js';
import { TestApi } from '../../test/test-api.js';
import { quarantinesOf, salvageDirOf } from '../git/index.js';
import { withinTime } from '../killswitch/within-time.js';
import { Adoption } from './adoption.service.js';
import { Cleanup } from './cleanup.service.js';
import { Orphans } from './orphans.js';
import { Recovery } from './recovery.service.js';
import { Turns } from './turns.js';

jest.setTimeout(120_000);

const logger = createLogger('test', { level: 'silent' });

describe('the start after a crash', () => {
  let api: TestApi;
  let room: AdoptionRoom;
  const lives: AbortController[] = [];

  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());
  beforeEach(async () => (room = await AdoptionRoom.start(api)));
  afterEach(async () => {
    for (const each of lives.splice(0)) each.abort();
    await room[Symbol.asyncDispose]();
  });

  /** Of the next orchestrator. Unless told, it has no sandboxes on this machine. */
  function life(
    driver = new BubblewrapDriver({ owner: room.git.parent }),
    adopts: Pick<SandboxDrivers, 'adopt'> = { adopt: async () => undefined },
  ): { recovery: Recovery; cleanup: Cleanup; stop: () => void } {
    const { store, reaper, runs } = api;
    const { sessions, adopted, settlement, reaping, audit } = room;
    const stopped = new AbortController();
    const { signal } = stopped;
    const drivers = new SandboxDrivers([driver]);
    const { store: repositories } = room.git;
    const cleanup = new Cleanup({
      driver: drivers,
      sessions,
      repositories,
      store,
      turns: new Turns(1),
      logger,
      signal,
    });
    const root = join(dirname(room.git.parent), 'repositories');
    const orphans = new Orphans({
      runs,
      reaping,
      sessions,
      driver: drivers,
      store,
      audit,
      repositories: root,
      logger,
    });
    const adoption = new Adoption({ store, sessions, reaper, driver: adopts, adopted, logger }, 0);
    const parts = { runs, store, sessions, reaper, reaping, settlement, cleanup, orphans, adoption, logger, signal };
    lives.push(stopped);
    return { recovery: new Recovery(parts), cleanup, stop: () => stopped.abort() };
  }

  it(
    'removes what harvests held before it adopts anybody, and nothing of what an adopted agent submits at once',
    proves('ORC-109', async () => {
      const { dir } = (await room.settleIn()).repository;
      await room.runs();
      const sandbox = await room.launch();
      const repositories = dirname(dir);
      const before = readdirSync(repositories);
      const [quarantine, salvage] = [quarantinesOf(dir), salvageDirOf(dir)];
      const gone = [quarantine, `${salvage}.7a0e5b3c-1111-4222-8333-444455556666`];
      for (const each of [...gone, salvage]) mkdirSync(join(each, 'old'), { recursive: true });
      const lock = join(dir, 'refs/remotes/origin/main.lock');
      writeFileSync(lock, '');
      const held = join(quarantine, 'submitted');
      let seen: string[] = [];
      let isLocked = true;
      const find = async (): Promise<AdoptedSandbox> => {
        seen = readdirSync(repositories);
        isLocked = existsSync(lock);
        mkdirSync(held, { recursive: true });
        return Object.assign(sandbox, { release: () => undefined });
      };
      await life(new BubblewrapDriver({ owner: repositories }), { adopt: find }).recovery.recoverAtStart();
      expect(seen.sort()).toEqual([...before, basename(salvage)].sort());
      expect(isLocked).toBe(false);
      expect(existsSync(held)).toBe(true);
      expect(api.runs.get(room.plan.agentId)).toBeDefined();
    }),
  );

  it(
    'says of work that was being pushed that the source may have it',
    proves(['ORC-109', 'ORC-117'], async () => {
      const { agentId, taskId } = room.plan;
      await room.settleIn();
      await room.runs();
      const pushing = { branch: `capstan/${taskId}`, commit: 'c'.repeat(40) };
      await room.sessions.amend(agentId, { pushing });
      const { recovery } = life();
      await recovery.recoverAtStart();
      await recovery.idle();
      const { state, error, warnings } = (await api.store.find(agentId)) ?? {};
      expect([state, error?.code]).toEqual(['failed', 'orchestrator-lost']);
      expect(warnings).toEqual([{ code: 'push-unknown', sentence: expect.stringContaining(pushing.branch) }]);
    }),
  );

  it(
    'waits for nothing that is saved, nor does a later round; where the orchestrator stops, the next one saves it',
    proves(['ORC-118', 'ORC-111'], async () => {
      const { agentId } = room.plan;
      const place = await room.settleIn();
      await room.work(place, 'echo half > half');
      await room.runs();
      const driver = new HeldDriver({ owner: place.repository.dir });
      const { recovery, cleanup, stop } = life(driver);
      await inTime(recovery.recoverAtStart());
      await driver.begun;
      // Should an order name the same agent again.
      let mayStart = false;
      const refused = expect(cleanup.makeRoomFor(agentId).then(() => (mayStart = true))).rejects.toMatchObject({
        code: 'not-saved',
      });
      await inTime(recovery.recover());
      expect(mayStart).toBe(false);
      expect(await api.store.untidy()).toContain(agentId);
      stop();
      await inTime(recovery.idle());
      await refused;
      expect(await room.sessions.recall(agentId)).not.toHaveProperty('kept');
      expect(existsSync(join(place.worktree.dir, 'half'))).toBe(true);

      const next = life().recovery;
      await next.recoverAtStart();
      await next.idle();
      expect(await api.store.untidy()).not.toContain(agentId);
      expect(git(salvageDirOf(place.repository.dir), 'show', `refs/capstan/salvage/${agentId}:half`)).toBe('half');
    }),
  );

  it(
    'lets nobody start in a directory whose work is not saved',
    proves(['ORC-111', 'ORC-118'], async () => {
      const { agentId } = room.plan;
      const place = await room.settleIn();
      await room.work(place, 'echo half > half');
      await room.runs();
      const { cleanup, stop } = life();
      stop();
      await expect(cleanup.makeRoomFor(agentId)).rejects.toMatchObject({ code: 'not-saved' });
      expect(existsSync(join(place.worktree.dir, 'half'))).toBe(true);

      const next = life().cleanup;
      await next.makeRoomFor(agentId);
      expect(existsSync(place.worktree.dir)).toBe(false);
      expect(git(salvageDirOf(place.repository.dir), 'show', `refs/capstan/salvage/${agentId}:half`)).toBe('half');
      // Nothing is left, so that there is nothing to wait for.
      await next.makeRoomFor(agentId);
    }),
  );

  it(
    'saves so much at once as it has turns, however many were ended',
    proves('ORC-118', async () => {
      const driver = new AwayDriver({ owner: room.git.parent });
      driver.heard = [];
      const agents: AgentId[] = [];
      for (const _ of [1, 2]) {
        room.plan = planFor({ repository: room.remote });
        agents.push(room.plan.agentId);
        await room.settleIn();
        await room.runs();
      }
      const { recovery } = life(driver);
      await recovery.recoverAtStart();
      await driver.begun;
      const timesOf = (id: AgentId): number => driver.removed.filter((it) => it === id).length;
      // Once by whoever looks for orphans, once by the clean-up, which then saves the work.
      await until('both are cleaned up after', () => agents.every((id) => timesOf(id) === 2));
      // By then a second one would have begun.
      await (await room.git.agentOn(room.remote)).run('true');
      driver.release();
      await recovery.idle();
      expect([driver.prepared, driver.atOnce]).toEqual([2, 1]);
    }),
  );

  it(
    'leaves alone what is being saved when a driver that was away is heard again',
    proves('ORC-118', async () => {
      const { agentId } = room.plan;
      const place = await room.settleIn();
      await room.work(place, 'echo half > half');
      await room.runs();
      const driver = new AwayDriver({ owner: place.repository.dir });
      const { recovery, stop } = life(driver);
      await recovery.recoverAtStart();
      await recovery.recover();
      await driver.begun;
      const before = driver.removed.length;
      driver.heard = [agentId];
      await recovery.recover();
      expect(driver.heard).toEqual([]);
      expect(driver.removed).toHaveLength(before);
      stop();
      await recovery.idle();
    }),
  );
});

async function inTime(step: Promise<void>): Promise<void> {
  const done = step.then(() => 'done');
  expect(await withinTime(30_000, done, 'too late')).toBe('done');
}

/** One that is away at first, then names the agents that it has found, once. */
class AwayDriver extends HeldDriver {
  heard: AgentId[] | undefined;
  readonly removed: string[] = [];

  override async agentsWithSandboxes(): Promise<string[]> {
    if (this.heard === undefined) throw new SandboxFault('sandbox-failed', 'It is away.');
    return this.heard.splice(0);
  }

  override async removeLeftovers(agentId: string): Promise<number[]> {
    this.removed.push(agentId);
    return super.removeLeftovers(agentId);
  }
}
