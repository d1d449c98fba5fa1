import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom } from '../../test/git-room.js';
import { removeLocks, salvageDirOf } from './index.js';

jest.setTimeout(60_000);

describe('a git that was killed', () => {
  it(
    'leaves its lock, which keeps the repository from its source until it is removed',
    proves('ORC-110', async () => {
      using room = new GitRoom();
      using source = new TestRepository();
      const { dir } = await room.store.open('default', source.path);
      const killed = spawn('git', ['update-ref', '--stdin'], { env: { ...process.env, GIT_DIR: dir } });
      const commit = git(dir, 'rev-parse', 'refs/remotes/origin/main');
      killed.stdin.write(`start\nupdate refs/remotes/origin/main ${commit}\nprepare\n`);
      for await (const line of createInterface(killed.stdout)) if (line === 'prepare: ok') break;
      killed.kill('SIGKILL');
      await once(killed, 'close');
      const locked = join(dir, 'refs/remotes/origin/main.lock');
      expect(existsSync(locked)).toBe(true);
      const others = ['packed-refs.lock', 'worktrees/agent-one/index.lock'].map((name) => join(dir, name));
      const saved = join(salvageDirOf(dir), 'refs/capstan/salvage/agent-one.lock');
      for (const each of [...others, saved]) {
        mkdirSync(dirname(each), { recursive: true });
        writeFileSync(each, '');
      }
      const moved = source.commit('Next', { 'next.md': 'next\n' });
      await expect(room.store.open('default', source.path)).rejects.toMatchObject({ code: 'repository-unavailable' });

      expect((await removeLocks(dirname(dir))).sort()).toEqual([locked, ...others, saved].sort());
      const again = await room.store.open('default', source.path);
      expect((await again.resolveBranch('')).commit).toBe(moved);
    }),
  );
});
