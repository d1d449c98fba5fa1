import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom } from '../../test/git-room.js';
import { SmallDisk } from '../../test/small-disk.js';
import { diskFault } from './disk-fault.js';
import { commitHarvest, harvest, RepositoryStore } from './index.js';
import { pushFault } from './push-fault.js';
import { GitFault } from './safe-git.js';

jest.setTimeout(120_000);

const IS_ROOT = process.getuid?.() === 0;

describe('a source that changes for the worse', () => {
  it('has no default branch any more where its HEAD names nothing', async () => {
    using room = new GitRoom();
    using source = new TestRepository();
    await room.store.open('default', source.path);
    git(source.path, 'symbolic-ref', 'HEAD', 'refs/heads/none');
    const repository = await room.store.open('default', source.path);
    await expect(repository.resolveBranch('')).rejects.toMatchObject({ code: 'branch-missing' });
    await expect(repository.resolveBranch('main')).resolves.toMatchObject({ branch: 'main' });
  });
});

describe('a harvest', () => {
  // All that the repository holds was in each pack: past its bound no work could be taken in.
  it('takes in what is new, however much the repository holds', async () => {
    using room = new GitRoom();
    using source = new TestRepository({ noise: randomBytes(400_000).toString('base64'), 'd/same': 'x\n' });
    const agent = await room.agentOn(source.path);
    await agent.run('echo x > d/new');
    const { files } = await harvest({ ...agent.harvestOrder(), limits: { packBytes: 100_000 } });
    expect(files).toEqual(['d/new']);
  });
});

describe('a push that is not taken', () => {
  it.each([
    [
      'ERROR: The key you are authenticating with has been marked as read only.\nfatal: Could not read from remote repository.',
      'denied',
    ],
    [
      'remote: You are not allowed to push code to this project.\nfatal: Could not read from remote repository.',
      'denied',
    ],
    [
      'remote: error: insufficient permission for adding an object to repository database ./objects\n ! [remote rejected] x -> x (unpacker error)',
      'denied',
    ],
    [
      'remote: fatal: Unable to create temporary file: Read-only file system\n ! [remote rejected] x -> x (unpacker error)',
      'denied',
    ],
    ["fatal: unable to access 'https://example.org/x.git/': The requested URL returned error: 403", 'denied'],
    [
      'remote: fatal: write error: No space left on device\nerror: remote unpack failed: index-pack abnormal exit',
      'full',
    ],
  ])('says why: %j', (stderr, reason) => {
    expect(pushFault(new GitFault('push', 'failed', 1, stderr)).reason).toBe(reason);
  });
});

// A file system of its own needs root.
(IS_ROOT ? describe : describe.skip)('a disk that is full', () => {
  let disk: SmallDisk;
  let room: GitRoom;
  let source: TestRepository;
  beforeEach(() => {
    disk = SmallDisk.mount(8);
    room = new GitRoom();
    source = new TestRepository();
  });
  afterEach(() => {
    for (const each of [room, source, disk]) each[Symbol.dispose]();
  });

  it(
    'is named as such before there is a repository; nothing half made is taken for what it should have been',
    proves('ORC-110', async () => {
      const root = join(disk.path, 'repositories');
      const store = new RepositoryStore({ root });
      disk.fill();
      await expect(store.open('default', source.path).catch(diskFault)).resolves.toMatchObject({ code: 'disk-full' });
      disk.free();
      expect(await store.open('default', source.path)).toBeDefined();
      const key = readFileSync(join(root, 'secret'));
      expect(key).toHaveLength(32);
      // What an earlier release may have left.
      writeFileSync(join(root, 'secret'), '');
      await new RepositoryStore({ root }).open('default', source.path);
      expect(readFileSync(join(root, 'secret'))).toHaveLength(32);
      expect(readFileSync(join(root, 'secret'))).not.toEqual(key);
    }),
  );

  it(
    'is named as such while a repository is fetched, and what was fetched by then is not left to fill it',
    proves('ORC-110', async () => {
      source.commit('Large', { noise: randomBytes(6 << 20).toString('base64') });
      const root = join(disk.path, 'repositories');
      const store = new RepositoryStore({ root });
      const torn = (): string[] =>
        readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => /\/tmp_[^/]*$/.test(name));
      disk.resize(4);
      await expect(store.open('default', source.path)).rejects.toMatchObject({ code: 'disk-full' });
      expect(torn()).toEqual([]);
      const [bare = ''] = readdirSync(root).filter((name) => name.endsWith('.git'));
      // As a crash leaves it.
      writeFileSync(join(root, bare, 'objects/pack/tmp_pack_abcdef'), 'half');
      await expect(store.open('default', source.path)).rejects.toMatchObject({ code: 'disk-full' });
      expect(torn()).toEqual([]);
      disk.resize(32);
      expect(await store.open('default', source.path)).toBeDefined();
    }),
  );

  it(
    'is named as such while files are checked out; nothing of them is left, and a later try succeeds',
    proves(['ORC-110', 'ORC-111'], async () => {
      source.commit('Large', { 'zeros.txt': '0'.repeat(4 << 20) });
      using _mounted = SmallDisk.mount(2, room.parent);
      const store = new RepositoryStore({ root: join(disk.path, 'repositories') });
      await expect(room.agentOn(source.path, { store })).rejects.toMatchObject({ code: 'disk-full' });
      const repository = await store.open('default', source.path);
      expect(readdirSync(room.parent)).toEqual([]);
      expect(readdirSync(join(repository.dir, 'worktrees'))).toEqual([]);
      _mounted.resize(8);
      const { worktree } = await room.agentOn(source.path, { store });
      expect(existsSync(join(worktree.dir, 'zeros.txt'))).toBe(true);
    }),
  );

  it(
    'is named as such while work is committed; what was taken in is there for a later try',
    proves(['ORC-110', 'ORC-111'], async () => {
      const store = new RepositoryStore({ root: join(disk.path, 'repositories') });
      const agent = await room.agentOn(source.path, { store });
      await agent.run('echo x > x');
      const { tree } = await harvest(agent.harvestOrder());
      const { repository, worktree } = agent;
      const order = { repository, tree, parents: [worktree.commit], branch: 'b', message: 'x', trailers: {} };
      const commit = (): Promise<string> => commitHarvest({ ...order, author: { name: 'a', email: 'b' } });
      disk.fill();
      await expect(commit()).rejects.toMatchObject({ code: 'disk-full' });
      disk.free();
      expect(git(repository.dir, 'show', `${await commit()}:x`)).toBe('x');
    }),
  );
});
