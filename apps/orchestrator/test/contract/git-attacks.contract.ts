import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SandboxDriver } from '@capstan/sandbox';
import { git } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { commitHarvest, harvest, push, salvage } from '../../src/git/index.js';
import { quarantinesOf } from '../../src/git/held-harvest.js';
import { trialMerge } from '../../src/git/trial-merge.js';
import { GIT_ATTACKS } from '../git-attacks.js';
import { attackedRoom, type AttackedRoom } from '../git-room.js';

/** What every sandbox owes to the git of its host. */
export function gitAttacksContract(start: () => SandboxDriver): void {
  describe('a work tree that attacks git on the host', () => {
    let driver: SandboxDriver;
    let room: AttackedRoom['room'];
    let source: AttackedRoom['source'];
    let remote: string;
    let agent: AttackedRoom['agent'];

    beforeAll(() => {
      driver = start();
    });
    beforeEach(async () => {
      ({ room, source, remote, agent } = await attackedRoom(driver));
    });
    afterEach(() => {
      for (const each of [room, source]) each[Symbol.dispose]();
    });

    /** Everything that the host ever does with what an agent left: harvest, commit, merge, push, salvage, removal. */
    const takeAll = async (): Promise<string> => {
      const { repository, worktree } = agent;
      const ended = await harvest(agent.harvestOrder()).then(
        async ({ tree }) => {
          const order = {
            repository,
            tree,
            parents: [worktree.commit],
            message: 'x',
            author: { name: 'a', email: 'b' },
          };
          const commit = await commitHarvest({ ...order, branch: 'work', trailers: {} });
          const other = source.commit('Meanwhile', { 'other.md': 'x\n' });
          git(source.path, 'push', '-q', remote, 'HEAD:main');
          await room.store.open('default', remote);
          await trialMerge(repository, commit, other);
          await push({ repository, branch: 'work', commit });
          return 'taken';
        },
        (error: unknown) => (error as { code?: string }).code ?? String(error),
      );
      await salvage(agent.harvestOrder());
      await repository.removeWorktree(worktree);
      return ended;
    };
    const CODES = { taken: 'taken', refused: 'harvest-refused', nothing: 'agent-no-change' };

    it.each(GIT_ATTACKS.map((attack) => [attack.name, attack] as const))('%s', (_, { script, end }) =>
      proves('SEC-02', async () => {
        const { repository, worktree } = agent;
        const configuration = (): string => readFileSync(join(repository.dir, 'config'), 'utf8');
        const before = configuration();
        await agent.run(script.replaceAll('$MARKER', room.marker));
        expect(await takeAll()).toBe(CODES[end]);
        expect(room.isMarked).toBe(false);
        expect(configuration()).toBe(before);
        expect(existsSync(worktree.dir) || existsSync(worktree.adminDir)).toBe(false);
        expect(readdirSync(room.parent)).toEqual([]);
        const quarantine = quarantinesOf(repository.dir);
        expect(existsSync(quarantine) ? readdirSync(quarantine) : []).toEqual([]);
        git(repository.dir, 'fsck', '--strict');
      })(),
    );
  });
}
