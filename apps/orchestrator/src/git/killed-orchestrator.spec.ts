import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { childrenOf, commandOf, groupOf, processesOfGroup } from '../../../../test/support/host-processes.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { GitRoom } from '../../test/git-room.js';

jest.setTimeout(120_000);

const LOADER = resolve(__dirname, '../../../spoke/test/from-source.mjs');
const PUSHING = resolve(__dirname, '../../test/pushing.ts');
const WAITING = resolve(__dirname, '../../test/waiting-git.ts');

describe('an orchestrator that is killed', () => {
  let room: GitRoom;
  let source: TestRepository;
  beforeEach(() => {
    room = new GitRoom();
    source = new TestRepository();
  });
  afterEach(() => {
    for (const each of [room, source]) each[Symbol.dispose]();
  });

  it(
    'pushes nothing more: git ends with it, and what git has started',
    proves('ORC-117', async () => {
      const remote = room.bareCloneOf(source);
      const [began, goOn] = [join(room.parent, 'began'), join(room.parent, 'go-on')];
      // Should it survive, it ends with the room.
      const hook = `#!/bin/sh\necho $$ > ${began}.new; mv ${began}.new ${began}\nwhile [ -e ${began} ] && [ ! -e ${goOn} ]; do sleep 0.1; done\n`;
      writeFileSync(join(remote, 'hooks', 'pre-receive'), hook, { mode: 0o755 });
      const commit = git(remote, 'rev-parse', 'main');
      const args = ['--import', LOADER, PUSHING, join(room.parent, 'store'), remote, 'capstan/one', commit];
      const orchestrator = spawn(process.execPath, args, { stdio: 'inherit' });
      const ended = once(orchestrator, 'close');
      try {
        await until('the hook is asked', () => existsSync(began), 60_000);
        const group = groupOf(Number(readFileSync(began, 'utf8'))) ?? 0;
        expect([0, groupOf(process.pid)]).not.toContain(group);
        expect(processesOfGroup(group).length).toBeGreaterThan(1);
        orchestrator.kill('SIGKILL');
        await ended;
        await until('git is gone, and all that it started', () => processesOfGroup(group).length === 0);
      } finally {
        writeFileSync(goOn, '');
        orchestrator.kill('SIGKILL');
        await ended;
      }
      expect(git(remote, 'branch', '--list', 'capstan/*')).toBe('');
    }),
  );

  it('leaves no git that would hold a lock beside the next one', async () => {
    const orchestrator = spawn(process.execPath, ['--import', LOADER, WAITING], { stdio: 'inherit' });
    const ended = once(orchestrator, 'close');
    const { pid = 0 } = orchestrator;
    const waits = (child: number): boolean => childrenOf(child).some((its) => commandOf(its).includes('60'));
    try {
      const left = await until('git runs', () => childrenOf(pid).find(waits), 60_000);
      orchestrator.kill('SIGKILL');
      await ended;
      await until('git is gone', () => groupOf(left) === undefined);
    } finally {
      orchestrator.kill('SIGKILL');
      await ended;
    }
  });
});
