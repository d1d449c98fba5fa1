import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom, type TestAgent } from '../../test/git-room.js';
import { harvest, salvage, type HarvestOrder } from './index.js';
import { sizeFault } from './size-fault.js';

// Hashing two gigabytes a few times takes its time on a busy machine.
jest.setTimeout(600_000);

const GIB = 1024 ** 3;
/** The time that one may take is for machines that do something else too. */
const unhurried = (agent: TestAgent): HarvestOrder => ({ ...agent.harvestOrder(), limits: { timeoutMs: 500_000 } });

describe('a repository with a large file', () => {
  let room: GitRoom;
  let source: TestRepository;
  beforeEach(() => {
    room = new GitRoom();
    source = new TestRepository();
  });
  afterEach(() => {
    for (const each of [room, source]) each[Symbol.dispose]();
  });

  /** Straight into a pack, which is handed on as it is. */
  const commitLarge = (name: string, ...make: [string, ...string[]]): void => {
    execFileSync(make[0], make.slice(1), { cwd: source.path });
    git(source.path, '-c', 'core.bigFileThreshold=1m', '-c', 'core.compression=1', 'add', name);
    git(source.path, 'commit', '--quiet', '--message', 'Large');
  };

  it(
    'of two gigabytes: it is checked out, and work beside it is taken in, without being held in memory',
    proves('ORC-110', async () => {
      commitLarge('zeros', 'truncate', '-s', String(2 * GIB), 'zeros');
      const agent = await room.agentOn(source.path);
      const { repository, worktree } = agent;
      const { size, blocks } = statSync(join(worktree.dir, 'zeros'));
      expect(size).toBe(2 * GIB);
      // Its holes are holes again.
      expect(blocks * 512).toBeLessThan(GIB);
      await agent.run('echo x > x');
      expect((await harvest(unhurried(agent))).files).toEqual(['x']);
      // What git cannot stream it does not do at all.
      const whole = repository.git(['cat-file', '--filters', `${worktree.commit}:zeros`]);
      const fault = sizeFault(await whole.catch((error: unknown) => error));
      expect(fault).toMatchObject({ code: 'repository-too-large' });
    }),
  );

  // It was packed anew in each harvest, past the bounds of one: no work was ever taken in.
  it(
    'that does not pack well: work beside it is taken in, and saved',
    proves(['ORC-110', 'ORC-111'], async () => {
      commitLarge('noise', 'sh', '-c', 'head -c 300M /dev/urandom > noise');
      const agent = await room.agentOn(source.path);
      const order = unhurried(agent);
      await agent.run('echo x > x');
      expect((await harvest(order)).files).toEqual(['x']);
      expect((await salvage(order))?.leftOut).toEqual([]);
      await agent.run('echo more >> noise');
      expect((await salvage(order))?.leftOut).toEqual(['noise']);
    }),
  );
});
