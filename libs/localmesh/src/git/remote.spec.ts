import { chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { addRemote } from './remote.js';

describe('the bare remote of a repository', () => {
  let directory: string;
  let source: TestRepository;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-remote-'));
    source = new TestRepository();
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
    source[Symbol.dispose]();
  });

  it('stands on the branch and commit of the source, which it does not touch', async () => {
    const before = [
      git(source.path, 'status', '--porcelain'),
      git(source.path, 'for-each-ref'),
      readdirSync(join(source.path, '.git')).sort(),
    ];
    const remote = await addRemote(source.path, directory);
    expect(remote).toMatchObject({ branch: 'main', commit: git(source.path, 'rev-parse', 'HEAD') });
    expect(git(remote.path, 'rev-parse', '--is-bare-repository')).toBe('true');
    expect([
      git(source.path, 'status', '--porcelain'),
      git(source.path, 'for-each-ref'),
      readdirSync(join(source.path, '.git')).sort(),
    ]).toEqual(before);
  });

  it('takes in new commits and another branch later, and keeps what agents pushed', async () => {
    const first = await addRemote(source.path, directory);
    git(first.path, 'update-ref', 'refs/heads/capstan/task-1', first.commit);
    git(source.path, 'switch', '--quiet', '--create', 'next');
    const commit = source.commit('Go on', { 'a.txt': 'a' });
    expect(await addRemote(source.path, directory)).toMatchObject({ path: first.path, branch: 'next', commit });
    expect(git(first.path, 'rev-parse', 'capstan/task-1')).toBe(first.commit);
  });

  it('has a branch where the source stands on none', async () => {
    git(source.path, 'checkout', '--quiet', '--detach');
    source.commit('Leave the branch', { 'b.txt': 'b' });
    const first = await addRemote(source.path, directory);
    expect(first).toMatchObject({ branch: 'capstan-source', commit: git(source.path, 'rev-parse', 'HEAD') });
    const commit = source.commit('Go on', { 'a.txt': 'a' });
    expect(await addRemote(source.path, directory)).toMatchObject({ branch: 'capstan-source', commit });
  });

  it('has a place of its own where another source has the same name', async () => {
    using other = new TestRepository({ 'other.txt': 'x' });
    git(source.path, 'clone', '--quiet', source.path, join(directory, 'a', 'same'));
    git(source.path, 'clone', '--quiet', other.path, join(directory, 'b', 'same'));
    const [a, b] = [
      await addRemote(join(directory, 'a', 'same'), join(directory, 'r')),
      await addRemote(join(directory, 'b', 'same'), join(directory, 'r')),
    ];
    expect(a.path).not.toBe(b.path);
    expect(a.commit).not.toBe(b.commit);
  });

  it('is made of a repository that belongs to another user, too', async () => {
    if (process.getuid?.() !== 0) return;
    chownSync(source.path, 12345, 12345);
    chownSync(join(source.path, '.git'), 12345, 12345);
    expect((await addRemote(source.path, directory)).branch).toBe('main');
  });

  it.each([
    ['repository-missing', () => join(directory, 'nowhere')],
    ['repository-missing', () => directory],
    ['repository-unreadable', () => 'file:///nonexistent/repository.git'],
  ])('is refused with %s, and nothing is left of it', async (code, place) => {
    await expect(addRemote(place(), join(directory, 'r'))).rejects.toMatchObject({ code });
    expect(readdirSync(join(directory, 'r'))).toEqual([]);
  });

  it('is refused where the source has no commit yet', async () => {
    git(directory, 'init', '--quiet', 'empty');
    await expect(addRemote(join(directory, 'empty'), join(directory, 'r'))).rejects.toMatchObject({
      code: 'repository-empty',
    });
  });

  it('does not follow a transport that runs programs', async () => {
    await expect(addRemote(`ext::sh -c "touch ${directory}/owned"`, join(directory, 'r'))).rejects.toMatchObject({
      name: 'LocalFault',
    });
    await expect(addRemote('--upload-pack=touch owned', join(directory, 'r'))).rejects.toMatchObject({
      name: 'LocalFault',
    });
    expect(readdirSync(directory)).not.toContain('owned');
  });
});
