import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { GitRoom } from '../../test/git-room.js';
import { push, RepositoryStore, salvage, standWork, type BareRepository } from './index.js';
import { salvageDirOf } from './salvage-repository.js';

jest.setTimeout(60_000);

const AUTHOR = { name: 'a', email: 'a@example.org' };

describe('a push, and what has happened to the branch meanwhile', () => {
  let room: GitRoom;
  let source: TestRepository;
  let remote: string;
  let repository: BareRepository;
  let base: string;

  beforeEach(async () => {
    room = new GitRoom();
    source = new TestRepository({ 'README.md': '# Quay\n', 'other.md': 'x\n' });
    remote = room.bareCloneOf(source);
    repository = await room.store.open('default', remote);
    base = (await repository.resolveBranch('')).commit;
  });
  afterEach(() => {
    for (const each of [room, source]) each[Symbol.dispose]();
  });

  /** A commit of somebody else's at the remote. */
  const others = (branch: string, files: Record<string, string>): string => {
    const commit = source.commit('Others', files);
    git(source.path, 'push', '-q', '--force', remote, `HEAD:refs/heads/${branch}`);
    return commit;
  };
  /** A tree of ours: the base with one file changed. */
  const treeWith = (name: string, content: string): string => {
    const id = execFileSync('git', ['hash-object', '-w', '--stdin'], { cwd: repository.dir, input: content })
      .toString()
      .trim();
    const listed = git(repository.dir, 'ls-tree', base)
      .split('\n')
      .filter((line) => !line.endsWith(`\t${name}`));
    const input = `${[...listed, `100644 blob ${id}\t${name}`].join('\n')}\n`;
    return execFileSync('git', ['mktree'], { cwd: repository.dir, input }).toString().trim();
  };
  const stand = async (tree: string, onto?: string) => {
    await room.store.open('default', remote);
    const names = { branch: 'capstan/one', targetRef: 'refs/remotes/origin/main', target: 'main' };
    const text = { message: 'Work', author: AUTHOR, trailers: {} };
    return standWork({
      repository,
      tree,
      base,
      ...names,
      ...text,
      onto: onto === undefined ? undefined : { commit: onto, by: 'rebase' },
    });
  };
  const refused = (reason: string, over: Partial<Parameters<typeof push>[0]> = {}) =>
    expect(push({ repository, branch: 'capstan/one', commit: base, ...over })).rejects.toMatchObject({
      name: 'PushFault',
      reason,
    });

  it.each([
    ['a hook', 'echo no >&2; exit 1', 'hook'],
    ['a protection', 'echo "GH006: Protected branch update failed" >&2; exit 1', 'protected'],
    [
      'a protection of another kind',
      'echo "You are not allowed to push code to protected branches" >&2; exit 1',
      'protected',
    ],
  ])('says that %s at the remote refused it', (_, script, reason) =>
    proves('ORC-112', async () => {
      writeFileSync(join(remote, 'hooks', 'pre-receive'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      await refused(reason);
    })(),
  );

  it(
    'takes no branch that was made, moved, deleted or rewritten since it was seen',
    proves('ORC-112', async () => {
      const first = others('capstan/one', { 'README.md': '# One\n' });
      await refused('moved');
      const second = others('capstan/one', { 'README.md': '# Two\n' });
      await repository.git(['fetch', '-q', remote, 'refs/heads/*:refs/remotes/origin/*']);
      const ours = source.commit('Ours', { 'README.md': '# Three\n' });
      await repository.git(['fetch', '-q', '--no-write-fetch-head', `file://${source.path}`, 'HEAD:refs/heads/ours']);
      await refused('moved', { commit: ours, expected: first });
      git(remote, 'update-ref', '-d', 'refs/heads/capstan/one');
      await refused('moved', { commit: ours, expected: second });
      git(remote, 'update-ref', 'refs/heads/capstan/one', second);
      await refused('moved', { commit: base, expected: second });
      expect(git(remote, 'rev-parse', 'refs/heads/capstan/one')).toBe(second);
    }),
  );

  it('says that the remote is away, or has become a checkout', async () => {
    rmSync(remote, { recursive: true });
    await refused('unreachable');
    mkdirSync(join(remote, '.git'), { recursive: true });
    await refused('checkout');
  });

  it(
    'leaves no lock at the source when it is broken off',
    proves('ORC-117', async () => {
      const locked = join(room.parent, 'locked');
      // Asked once every ref is locked, before it is moved.
      const hook = `#!/bin/sh\n[ "$1" = prepared ] || exit 0\ntouch ${locked}\nexec sleep 60\n`;
      writeFileSync(join(remote, 'hooks', 'reference-transaction'), hook, { mode: 0o755 });
      const stop = new AbortController();
      const pushing = push({ repository, branch: 'capstan/one', commit: base, signal: stop.signal });
      const ended = pushing.then(
        () => 'pushed',
        () => 'broken off',
      );
      await until('it holds its lock', () => existsSync(locked) || undefined);
      const locks = (): string[] =>
        readdirSync(join(remote, 'refs'), { recursive: true, encoding: 'utf8' }).filter((name) =>
          name.endsWith('.lock'),
        );
      expect(locks()).toEqual(['heads/capstan/one.lock']);
      stop.abort();
      expect(await ended).toBe('broken off');
      expect(locks()).toEqual([]);
      expect(git(remote, 'branch', '--list', 'capstan/*')).toBe('');
    }),
  );

  it(
    'compares work with what others have pushed: files and hunks of what does not fit',
    proves('ORC-112', async () => {
      const ours = treeWith('README.md', '# Ours\n');
      expect(await stand(ours)).toMatchObject({ kind: 'fits', parents: [base], expected: undefined });
      const theirs = others('main', { 'README.md': '# Theirs\n' });
      const found = await stand(ours);
      expect(found).toMatchObject({
        kind: 'conflict',
        with: 'main',
        onto: theirs,
        merge: { kind: 'conflict', more: 0 },
      });
      expect(found.kind === 'conflict' && found.merge.kind === 'conflict' && found.merge.files).toMatchObject([
        {
          path: 'README.md',
          hunks: [{ line: 1, text: expect.stringMatching(/^<<<<<<< .*\n# Ours\n=======\n# Theirs\n>>>>>>> /) }],
        },
      ]);
      expect(await stand(treeWith('README.md', '# Both\n'), theirs)).toMatchObject({ kind: 'fits', parents: [theirs] });
      expect(await stand(ours, 'a'.repeat(40))).toEqual({ kind: 'unknown-onto' });
      // In the repository, and not at the source.
      const own = git(repository.dir, 'commit-tree', '-p', theirs, '-m', 'x', ours);
      expect(await stand(ours, own)).toEqual({ kind: 'unknown-onto' });
    }),
  );

  it('knows a file that one side deleted, and one that is binary', async () => {
    git(source.path, 'rm', '-q', 'other.md');
    others('main', { 'README.md': '\0\u0001theirs' });
    const found = await stand(treeWith('other.md', 'changed\n'));
    expect(found).toMatchObject({
      merge: { files: [{ path: 'other.md', about: expect.stringContaining('deleted'), hunks: [] }] },
    });
    expect(await stand(treeWith('README.md', '\0ours'))).toMatchObject({
      merge: { files: [{ path: 'README.md', about: expect.stringContaining('binary'), hunks: [] }] },
    });
  });

  it('takes in what somebody else has pushed to the task’s own branch, where it fits', async () => {
    const theirs = others('capstan/one', { 'new.md': 'new\n' });
    const found = await stand(treeWith('README.md', '# Ours\n'));
    expect(found).toMatchObject({ kind: 'fits', expected: theirs, base: theirs });
    expect(found.kind === 'fits' && git(repository.dir, 'ls-tree', '--name-only', found.tree)).toBe(
      'README.md\nnew.md\nother.md',
    );
  });

  it('says that the branch of the agent is gone, or has another history', async () => {
    git(source.path, 'checkout', '-q', '--orphan', 'other');
    others('main', { 'README.md': '# Another beginning\n' });
    expect(await stand(treeWith('README.md', '# Ours\n'))).toMatchObject({
      kind: 'conflict',
      merge: { kind: 'unrelated' },
    });
    git(remote, 'update-ref', 'refs/heads/elsewhere', base);
    git(remote, 'symbolic-ref', 'HEAD', 'refs/heads/elsewhere');
    git(remote, 'update-ref', '-d', 'refs/heads/main');
    expect(await stand(treeWith('README.md', '# Ours\n'))).toEqual({ kind: 'target-missing' });
  });
});

const IS_ROOT = process.getuid?.() === 0;
// A file system of its own needs root.
(IS_ROOT ? describe : describe.skip)('a disk that is full', () => {
  let disk: string;
  let room: GitRoom;
  let source: TestRepository;
  beforeEach(() => {
    disk = mkdtempSync(join(tmpdir(), 'capstan-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk]);
    chmodSync(disk, 0o755);
    room = new GitRoom();
    source = new TestRepository();
  });
  afterEach(() => {
    execFileSync('umount', ['--lazy', disk]);
    for (const each of [room, source]) each[Symbol.dispose]();
    rmSync(disk, { recursive: true });
  });
  const noise = (bytes: number): string => randomBytes(bytes).toString('base64');

  it(
    'is named as such while cloning, and a later try succeeds',
    proves('ORC-110', async () => {
      const store = new RepositoryStore({ root: join(disk, 'repositories') });
      writeFileSync(join(disk, 'filler'), Buffer.alloc(4 << 20));
      source.commit('Large', { 'noise.txt': noise(3 << 20) });
      await expect(store.open('default', source.path)).rejects.toMatchObject({ code: 'disk-full' });
      rmSync(join(disk, 'filler'));
      expect(await store.open('default', source.path)).toBeDefined();
    }),
  );

  it(
    'is named as such while work is taken in, which is not lost',
    proves(['ORC-110', 'ORC-111'], async () => {
      const store = new RepositoryStore({ root: join(disk, 'repositories') });
      const agent = await room.agentOn(source.path, { store });
      await agent.run('head -c 3000000 /dev/urandom > noise');
      writeFileSync(join(disk, 'filler'), Buffer.alloc(5 << 20));
      await expect(salvage(agent.harvestOrder())).rejects.toMatchObject({ code: 'disk-full' });
      rmSync(join(disk, 'filler'));
      const saved = await salvage(agent.harvestOrder());
      const kept = salvageDirOf(agent.repository.dir);
      expect(git(kept, 'cat-file', '-s', `${saved?.commit ?? ''}:noise`)).toBe('3000000');
    }),
  );
});
