import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createLogger } from '@capstan/platform';
import { BubblewrapDriver, SandboxDrivers, type AdoptedSandbox } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { AdoptionRoom } from '../../test/adoption-room.js';
import { TestApi } from '../../test/test-api.js';
import { quarantinesOf, salvageDirOf } from '../git/index.js';
import { Adoption } from './adoption.service.js';
import { Orphans } from './orphans.js';
import { Recovery } from './recovery.service.js';

jest.setTimeout(120_000);

const logger = createLogger('test', { level: 'silent' });

describe('the start after a crash', () => {
  let api: TestApi;
  let room: AdoptionRoom;

  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());
  beforeEach(async () => (room = await AdoptionRoom.start(api)));
  afterEach(() => room[Symbol.asyncDispose]());

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
      const held = join(quarantine, 'submitted');
      let seen: string[] = [];
      const find = async (): Promise<AdoptedSandbox> => {
        seen = readdirSync(repositories);
        mkdirSync(held, { recursive: true });
        return Object.assign(sandbox, { release: () => undefined });
      };
      const { store, reaper, runs } = api;
      const { sessions, adopted, cleanup, settlement, reaping, audit } = room;
      // It has no sandboxes on this machine but those that are adopted.
      const driver = new SandboxDrivers([new BubblewrapDriver({ owner: repositories })]);
      const orphans = new Orphans({ runs, reaping, sessions, driver, store, audit, repositories, logger });
      const adoption = new Adoption({ store, sessions, reaper, driver: { adopt: find }, adopted, logger });
      const parts = { runs, store, reaper, reaping, settlement, cleanup, orphans, adoption, logger };
      await new Recovery(parts).recoverAtStart();
      expect(seen.sort()).toEqual([...before, basename(salvage)].sort());
      expect(existsSync(held)).toBe(true);
      expect(runs.get(room.plan.agentId)).toBeDefined();
    }),
  );
});
