import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SandboxDriver } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import { commitHarvest, harvest, HarvestInterrupted, push, salvage } from '../../src/git/index.js';
import { quarantinesOf } from '../../src/git/held-harvest.js';
import { salvageDirOf } from '../../src/git/salvage-repository.js';
import { attackedRoom, type AttackedRoom } from '../git-room.js';

/** Every way in which a repository's own configuration names a program. */
const ARMED = (marker: string): string => `
[core]
	fsmonitor = touch ${marker}
	hooksPath = /workspace/hooks
	sshCommand = touch ${marker}
	editor = touch ${marker}
	pager = touch ${marker}
[filter "evil"]
	clean = touch ${marker}; cat
	smudge = touch ${marker}; cat
	process = touch ${marker}
	required = true
[diff "evil"]
	textconv = touch ${marker}; cat
	command = touch ${marker}
[merge "evil"]
	driver = touch ${marker}
[alias]
	status = !touch ${marker}
[gpg]
	program = touch ${marker}
[commit]
	gpgSign = true
`;
const ATTRIBUTES = '* filter=evil diff=evil merge=evil\n';

/** What every sandbox owes to those who take an agent's work out of it. */
export function hostileWorktreeContract(start: () => SandboxDriver): void {
  describe('a work tree that is an attack on git', () => {
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
      using _room = room;
      using _source = source;
      expect(room.isMarked).toBe(false);
      expect(existsSync(quarantine()) ? readdirSync(quarantine()) : []).toEqual([]);
    });

    const quarantine = (): string => quarantinesOf(agent.repository.dir);

    /** All that the host does with an agent's work. */
    const takeAll = async (): Promise<string[]> => {
      const { repository, worktree } = agent;
      const { tree, files } = await harvest(agent.harvestOrder());
      const order = {
        repository,
        tree,
        parents: [worktree.commit],
        branch: 'work',
        message: 'Work',
        author: { name: 'a', email: 'b' },
        trailers: {},
      };
      await push({ repository, branch: 'work', commit: await commitHarvest(order) });
      return files;
    };
    const refused = async (detail: RegExp): Promise<void> => {
      await expect(harvest(agent.harvestOrder())).rejects.toMatchObject({
        code: 'harvest-refused',
        detail: expect.stringMatching(detail) as string,
      });
    };
    const arm = (directory: string): void => {
      mkdirSync(directory, { recursive: true });
      git(directory, 'init', '-q');
      writeFileSync(join(directory, '.git', 'config'), ARMED(room.marker), { flag: 'a' });
      for (const hook of [
        'post-checkout',
        'pre-commit',
        'post-index-change',
        'pre-push',
        'reference-transaction',
        'fsmonitor-watchman',
      ]) {
        writeFileSync(join(directory, '.git', 'hooks', hook), `#!/bin/sh\ntouch ${room.marker}\n`, { mode: 0o755 });
      }
    };
    const give = (): void => chmodSync(agent.worktree.dir, 0o777);

    it(
      'runs no filter, hook or monitor of a .git that was rewritten as a directory',
      proves('SEC-02', async () => {
        const { dir } = agent.worktree;
        rmSync(join(dir, '.git'));
        arm(dir);
        give();
        writeFileSync(join(dir, '.gitattributes'), ATTRIBUTES);
        writeFileSync(join(dir, 'new.txt'), 'new\n');
        expect(await takeAll()).toEqual(['.gitattributes', 'new.txt']);
        expect(room.isMarked).toBe(false);
        // The trap is live: this is what git does when it opens such a work tree.
        expect(() => git(dir, 'add', '--all')).toThrow();
        expect(room.isMarked).toBe(true);
        rmSync(room.marker);
        await agent.repository.removeWorktree(agent.worktree);
      }),
    );

    it.each([
      [
        'a symlink to another repository',
        (dir: string, other: string) => symlinkSync(join(other, '.git'), join(dir, '.git')),
      ],
      [
        'a file that points to another repository',
        (dir: string, other: string) => writeFileSync(join(dir, '.git'), `gitdir: ${other}/.git\n`),
      ],
      ['a broken symlink', (dir: string) => symlinkSync('/nonexistent', join(dir, '.git'))],
      ['an empty file', (dir: string) => writeFileSync(join(dir, '.git'), '')],
      ['a bare repository around it', (dir: string) => git(dir, 'init', '-q', '--bare', '.')],
    ])('does not read a .git that was rewritten as %s', (_, rewrite) =>
      proves('SEC-02', async () => {
        const { dir } = agent.worktree;
        const other = join(room.parent, 'other');
        arm(other);
        rmSync(join(dir, '.git'));
        rewrite(dir, other);
        give();
        writeFileSync(join(dir, '.gitattributes'), ATTRIBUTES);
        expect(await takeAll()).toContain('.gitattributes');
        await agent.repository.removeWorktree(agent.worktree);
      })(),
    );

    it(
      'refuses an embedded repository, and runs nothing of it',
      proves('SEC-02', async () => {
        arm(join(agent.worktree.dir, 'inner'));
        writeFileSync(join(agent.worktree.dir, '.gitattributes'), ATTRIBUTES);
        await refused(/inner/);
        expect(await salvage(agent.harvestOrder())).toMatchObject({ ref: 'refs/capstan/salvage/agent-one' });
        await agent.repository.removeWorktree(agent.worktree);
      }),
    );

    it(
      'refuses a link to a commit of another repository',
      proves('SEC-02', async () => {
        await agent.run(
          'git init -q inner; cd inner; echo x > x; git add x; git -c user.name=a -c user.email=a@b commit -qm x',
        );
        await refused(/a repository inside the repository: inner/);
      }),
    );

    it('refuses instructions for submodules that would run something', async () => {
      await agent.run(`printf '[submodule "x"]\\n\\tpath = x\\n\\turl = --upload-pack=touch\\n' > .gitmodules`);
      await refused(/gitmodulesUrl/);
    });

    it(
      'hands over nothing of the host where the worktree was swapped for a symlink',
      proves('SEC-02', async () => {
        const secret = room.secretDirectory();
        renameSync(agent.worktree.dir, `${agent.worktree.dir}.away`);
        symlinkSync(secret, agent.worktree.dir);
        await refused(/no directory/);
        await expect(salvage(agent.harvestOrder())).rejects.toMatchObject({ code: 'harvest-refused' });
        await agent.repository.removeWorktree(agent.worktree);
        expect(readdirSync(secret)).toEqual(['secret.txt']);
        await agent.repository.git(['fsck', '--strict']);
      }),
    );

    it(
      'takes a symlink to the host as a symlink, in place of a directory too',
      proves('SEC-02', async () => {
        const secret = room.secretDirectory();
        await agent.run(
          `rm -r src; ln -s ${secret} src; ln -s ${secret}/secret.txt .gitattributes; ln -s ${secret}/secret.txt .gitignore; ln -s /proc/self/root/etc all`,
        );
        expect(await takeAll()).toEqual(['.gitattributes', '.gitignore', 'all', 'src', 'src/a.ts']);
        expect(git(remote, 'show', 'work:src')).toBe(secret);
      }),
    );

    it('names every path without doubt: line ends, quotes, bytes that are no UTF-8, options', async () => {
      await agent.run(
        `cd src; printf x > "$(printf 'new\\nline')"; printf x > "$(printf 'caf\\351')"; printf x > '--force'; printf x > 'quote"d'; printf x > 'größe.md'; printf x > "$(printf 'esc\\033[2J')"`,
      );
      expect(await takeAll()).toEqual([
        'src/--force',
        '"src/caf\\351"',
        '"src/esc\\033[2J"',
        'src/größe.md',
        '"src/new\\012line"',
        '"src/quote\\"d"',
      ]);
    });

    it('leaves out what is no file: pipes, sockets, empty directories', async () => {
      await agent.run('mkfifo pipe; mkdir empty; echo x > x');
      expect(await takeAll()).toEqual(['x']);
    });

    it('does not wait for a file that has no end', async () => {
      await agent.run('dd of=endless bs=1 count=0 seek=4T');
      const limits = { timeoutMs: 700, fileBytes: 2 ** 43 };
      await expect(harvest({ ...agent.harvestOrder(), limits })).rejects.toBeInstanceOf(HarvestInterrupted);
    });

    it.each([
      [
        'one file that is large once unpacked',
        'dd of=hole bs=1 count=0 seek=20M',
        { fileBytes: 10 << 20 },
        /hole" is larger|hole is larger/,
      ],
      [
        'more new data than the pack may hold',
        'head -c 3000000 /dev/urandom > noise',
        { packBytes: 1 << 20 },
        /exceeds maximum allowed size/,
      ],
      [
        'more files than allowed',
        'for i in 1 2 3 4 5; do echo $i > $i; done',
        { files: 4 },
        /more than 4 changed files/,
      ],
    ])('refuses %s', async (_, script, limits, detail) => {
      await agent.run(script);
      await expect(harvest({ ...agent.harvestOrder(), limits })).rejects.toMatchObject({
        code: 'harvest-refused',
        detail: expect.stringMatching(detail) as string,
      });
    });

    it('refuses what it cannot read, and salvages the rest', async () => {
      await agent.run('echo x > open; echo y > closed; chmod 0 closed');
      await refused(/closed/);
      const saved = await salvage(agent.harvestOrder());
      const kept = salvageDirOf(agent.repository.dir);
      expect(git(kept, 'show', '--name-only', '--format=', saved?.commit ?? '')).toBe('open');
    });

    it('has no use for replacement refs, grafts and alternates that the agent named', async () => {
      await agent.run('mkdir -p .git2/info; echo x > .git2/info/grafts; export GIT_DIR=.git2; echo y > y');
      expect(await takeAll()).toEqual(['.git2/info/grafts', 'y']);
    });
  });
}
