import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Mount, SandboxDriver } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { harvest, salvage } from '../../src/git/index.js';
import type { HarvestLimits } from '../../src/git/harvest-limits.js';
import { quarantinesOf } from '../../src/git/held-harvest.js';
import { salvageDirOf } from '../../src/git/salvage-repository.js';
import { GitRoom, type TestAgent } from '../git-room.js';

const HARVESTS = 5;
/** What may become of a tree that nobody holds still. */
const ENDS = ['taken', 'harvest-refused'];
/** A file that became a pipe while git opened it has no end. */
const BESIDE: Partial<HarvestLimits> = { timeoutMs: 5_000 };
const MOST_OBJECTS = 512 * 1024 * 1024;

/** What every sandbox owes where the tree changes while it is read: a trial at submit runs beside the living agent. */
export function changingWorktreeContract(start: () => SandboxDriver): void {
  describe('a work tree that its agent changes while it is harvested', () => {
    const programs = mkdtempSync(join(tmpdir(), 'capstan-restless-'));
    let driver: SandboxDriver;
    let room: GitRoom;
    let source: TestRepository;
    let agent: TestAgent;

    beforeAll(() => {
      driver = start();
      chmodSync(programs, 0o755);
      // Where the agent's uid can reach them.
      copyFileSync(process.execPath, join(programs, 'node'));
      copyFileSync(join(__dirname, '../restless.mjs'), join(programs, 'restless.mjs'));
      chmodSync(join(programs, 'node'), 0o755);
      chmodSync(join(programs, 'restless.mjs'), 0o644);
    });
    afterAll(() => rmSync(programs, { recursive: true }));
    beforeEach(async () => {
      room = new GitRoom(driver);
      source = new TestRepository({ 'README.md': '# Quay\n', 'src/a.ts': 'export {};\n', 'deep/secret.txt': 'none\n' });
      agent = await room.agentOn(source.path);
    });
    afterEach(() => {
      for (const each of [room, source]) each[Symbol.dispose]();
    });

    const mount = (name: string): Mount => ({ source: join(programs, name), target: `/opt/${name}`, mode: 'ro' });
    const taken = async (limits: Partial<HarvestLimits> = {}): Promise<string> =>
      harvest({ ...agent.harvestOrder(), limits }).then(
        ({ tree }) => {
          expect(git(agent.repository.dir, 'show', `${tree}:steady.md`)).toBe('written once');
          return 'taken';
        },
        (error: unknown) => (error as { code?: string }).code ?? String(error),
      );
    /** Every object that anything was made of. */
    const contentOf = (repository: string): Buffer =>
      execFileSync('git', ['cat-file', '--batch-all-objects', '--batch', '--buffer'], {
        cwd: repository,
        maxBuffer: MOST_OBJECTS,
      });

    // Whoever wins a race against git reads what is there to be read.
    it(
      'is read where nothing of the host is but the work tree and the objects, which the agent has as well',
      proves('SEC-02', async () => {
        await agent.run("echo 'written once' > steady.md");
        const { worktree, repository } = agent;
        const prepare = jest.spyOn(driver, 'prepare');
        try {
          expect(await taken()).toBe('taken');
          await salvage(agent.harvestOrder());
          const mounts = prepare.mock.calls.map(([spec]) => spec.mounts.map(({ source, mode }) => ({ source, mode })));
          const both = [worktree.dir, join(repository.dir, 'objects')].map((source) => ({ source, mode: 'ro' }));
          expect(mounts).toEqual([both, both]);
        } finally {
          prepare.mockRestore();
        }
      }),
    );

    it.each([
      ['files and links to files of the host', 'files', ''],
      ['directories and links to directories of the host', 'directories', ''],
      ['entries .git that name repositories of the host', 'repositories', 'rm -rf inner armed .gitmodules*'],
      ['names that mean something else to git', 'names', 'rm -rf name .GIT git~1 line* -- --exec=touch'],
      ['files, large files and pipes', 'kinds', ''],
    ])('back and forth: %s', (_, what, amends) =>
      proves('SEC-02', async () => {
        const host = room.secretDirectory();
        let laps = 0;
        const argv = ['/opt/node', '/opt/restless.mjs', what, host, room.marker];
        const further = async (): Promise<void> => {
          const before = laps;
          await until('it goes on', () => laps > before, 60_000);
        };
        {
          const mounts = [mount('node'), mount('restless.mjs')];
          await using _living = await agent.live(argv, (said) => (laps += said.length), mounts);
          await further();
          for (let at = 0; at < HARVESTS; at += 1) expect(ENDS).toContain(await taken(BESIDE));
          // It has lived through them all.
          await further();
        }
        expect(amends === '' ? ['taken'] : ENDS).toContain(await taken());
        const saved = await salvage(agent.harvestOrder());
        const { dir } = agent.repository;
        expect(git(salvageDirOf(dir), 'show', `${saved?.commit ?? ''}:steady.md`)).toBe('written once');
        // It was refused for nothing else.
        await agent.run(amends);
        expect(await taken()).toBe('taken');
        expect(room.isMarked).toBe(false);
        expect(existsSync(quarantinesOf(dir)) ? readdirSync(quarantinesOf(dir)) : []).toEqual([]);
        for (const repository of [dir, salvageDirOf(dir)]) {
          await agent.repository.at(repository).git(['fsck', '--strict']);
          expect(contentOf(repository).includes('the secret of the host')).toBe(false);
        }
      })(),
    );
  });
}
