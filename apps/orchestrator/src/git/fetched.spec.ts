import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom } from '../../test/git-room.js';

jest.setTimeout(60_000);

describe('a repository that is opened again', () => {
  let room: GitRoom;
  let source: TestRepository;

  beforeEach(() => {
    room = new GitRoom();
    source = new TestRepository();
  });
  afterEach(() => {
    room[Symbol.dispose]();
    source[Symbol.dispose]();
  });

  const main = async (): Promise<string> => {
    const repository = await room.store.open('default', source.path);
    return (await repository.resolveBranch('main')).commit;
  };

  it('is not fetched while its source says the same', async () => {
    const { dir } = await room.store.open('default', source.path);
    // A fetch locks and writes nothing where nothing has moved; that it looked at all is seen by what it would mend.
    git(dir, 'update-ref', '-d', 'refs/remotes/origin/main');
    await room.store.open('default', source.path);
    expect(git(dir, 'for-each-ref', 'refs/remotes/origin/main')).toBe('');
  });

  it('follows every move of its source, back to where it was too', async () => {
    const first = await main();
    const second = source.commit('Go on', { 'a.md': 'a\n' });
    expect(await main()).toBe(second);
    git(source.path, 'reset', '--quiet', '--hard', first);
    expect(await main()).toBe(first);
    git(source.path, 'branch', 'aside', second);
    const repository = await room.store.open('default', source.path);
    expect((await repository.resolveBranch('aside')).commit).toBe(second);
    git(source.path, 'branch', '-D', 'aside');
    const pruned = await room.store.open('default', source.path);
    await expect(pruned.resolveBranch('aside')).rejects.toMatchObject({ code: 'branch-missing' });
    git(source.path, 'switch', '--quiet', '-c', 'trunk');
    const moved = await room.store.open('default', source.path);
    expect(await moved.resolveBranch('')).toMatchObject({ branch: 'trunk', commit: first });
  });

  it('is fetched where the last try failed, and where it had to be made anew', async () => {
    const { dir } = await room.store.open('default', source.path);
    const next = source.commit('Go on', { 'a.md': 'a\n' });
    const object = join(source.path, '.git/objects', next.slice(0, 2), next.slice(2));
    renameSync(object, `${object}.kept`);
    await expect(room.store.open('default', source.path)).rejects.toThrow();
    renameSync(`${object}.kept`, object);
    expect(await main()).toBe(next);
    rmSync(dir, { recursive: true });
    expect(await main()).toBe(next);
  });
});
