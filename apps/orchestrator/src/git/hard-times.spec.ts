import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom } from '../../test/git-room.js';
import { SmallDisk } from '../../test/small-disk.js';
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
