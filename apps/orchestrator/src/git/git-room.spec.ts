import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom } from '../../test/git-room.js';
import { commitHarvest, harvest, push, RepositoryStore, salvage } from './index.js';
import { salvageDirOf, salvageRepositoryOf } from './salvage-repository.js';

jest.setTimeout(60_000);

describe('the life of a worktree', () => {
  let room: GitRoom;
  let source: TestRepository;

  beforeEach(() => {
    room = new GitRoom();
    source = new TestRepository({ 'README.md': '# Quay\n', 'src/a.ts': 'export {};\n' });
  });
  afterEach(() => {
    room[Symbol.dispose]();
    source[Symbol.dispose]();
  });

  it(
    'clones, branches, takes in what the agent left, commits with the configured author, and pushes',
    proves(['ORC-110'], async () => {
      const remote = room.bareCloneOf(source);
      const agent = await room.agentOn(remote);
      await agent.run(
        'echo hello > hello.txt; rm src/a.ts; chmod +x README.md; ln -s README.md link; mkdir -p deep/er; echo x > deep/er/x',
      );
      const { tree, files } = await harvest(agent.harvestOrder());
      expect(files).toEqual(['README.md', 'deep/er/x', 'hello.txt', 'link', 'src/a.ts']);
      const { repository, worktree } = agent;
      const branch = `capstan/${worktree.taskId}`;
      const author = { name: 'Capstan <agent>', email: 'agent@example.org' };
      const trailers = { 'Capstan-Agent': worktree.agentId };
      const commit = await commitHarvest({
        repository,
        tree,
        parents: [worktree.commit],
        branch,
        message: 'Say hello\n\nAt length.',
        author,
        trailers,
      });
      await push({ repository, branch, commit });
      await push({ repository, branch, commit });
      expect(git(remote, 'rev-parse', `refs/heads/${branch}`)).toBe(commit);
      expect(git(remote, 'log', '-1', '--format=%an <%ae>%n%B', commit)).toBe(
        'Capstan agent <agent@example.org>\nSay hello\n\nAt length.\n\nCapstan-Agent: agent-one',
      );
      expect(git(remote, 'ls-tree', '-r', commit, 'README.md', 'link')).toMatch(/^100755 .*README.md\n120000 .*link$/);
      expect(git(remote, 'rev-parse', `${commit}^`)).toBe(git(source.path, 'rev-parse', 'HEAD'));
      git(remote, 'fsck', '--strict');
    }),
  );

  it(
    'gives each agent a worktree of its own name and leaves nothing of it behind',
    proves('ORC-111', async () => {
      const one = await room.agentOn(source.path, { agentId: 'one' });
      const two = await room.agentOn(source.path, { agentId: 'two' });
      expect(one.repository.dir).toBe(two.repository.dir);
      expect(one.worktree.dir).toMatch(/\/agent-one-task-one$/);
      await one.run('echo one > file');
      await two.run('test ! -e file; echo two > file; mkdir -p locked/in; chmod 0 locked');
      await one.repository.removeWorktree(one.worktree);
      await one.repository.removeWorktree(one.worktree);
      await two.repository.removeWorktree(two.worktree);
      expect(existsSync(one.worktree.dir) || existsSync(two.worktree.dir)).toBe(false);
      expect(readdirSync(join(one.repository.dir, 'worktrees'))).toEqual([]);
      expect(readdirSync(room.parent)).toEqual([]);
    }),
  );

  it('removes a tree that is deeper than a path may be long', async () => {
    const agent = await room.agentOn(source.path);
    await agent.run(
      'i=0; while [ $i -lt 60 ]; do d=$(printf %0200d $i); mkdir $d && cd -P $d || exit 1; i=$((i+1)); done; echo deep > file',
    );
    await agent.repository.removeWorktree(agent.worktree);
    expect(existsSync(agent.worktree.dir)).toBe(false);
  });

  it('lets git status, diff and log work inside, and nothing of the repository be written', async () => {
    const agent = await room.agentOn(source.path);
    // Nothing looks changed before it is read: in a large repository that would take each status its time.
    const said = await agent.run(`
      git diff-files --name-only; git status --porcelain; echo more >> README.md; git status --porcelain; git diff --stat | tail -1; git log --format=%s
      git rev-parse --show-toplevel; git worktree list | wc -l
      (git commit -qam x || git update-ref refs/heads/x HEAD || git config a.b c || echo x > .git || rm -f .git) 2>/dev/null || echo refused`);
    expect(said.split('\n')).toEqual([
      ' M README.md',
      ' 1 file changed, 1 insertion(+)',
      'Begin',
      '/workspace',
      '2',
      'refused',
      '',
    ]);
  });

  it(
    'saves unfinished work to a ref before the worktree goes',
    proves('ORC-111', async () => {
      const agent = await room.agentOn(source.path);
      expect(await salvage(agent.harvestOrder())).toBeUndefined();
      await agent.run(
        'echo half > half; git init -q inner; echo y > inner/y; cd inner; git add .; git -c user.name=a -c user.email=a@b commit -qm x',
      );
      const saved = await salvage(agent.harvestOrder());
      const { repository, worktree } = agent;
      await repository.removeWorktree(worktree);
      expect(saved?.ref).toBe('refs/capstan/salvage/agent-one');
      const kept = await salvageRepositoryOf(repository);
      expect(git(kept.dir, 'show', 'refs/capstan/salvage/agent-one:half')).toBe('half');
      expect(git(kept.dir, 'ls-tree', '-r', 'refs/capstan/salvage/agent-one')).not.toMatch(/160000/);
      source.commit('Go on', { 'later.txt': 'x\n' });
      await room.store.open('default', source.path);
      expect(await kept.commitOf('refs/capstan/salvage/agent-one')).toBe(saved?.commit);
    }),
  );

  it('says agent-no-change where the tree is the one that the agent was given', async () => {
    const agent = await room.agentOn(source.path);
    await agent.run('echo x > README.md; echo "# Quay" > README.md; mkdir empty; touch src/a.ts');
    await expect(harvest(agent.harvestOrder())).rejects.toMatchObject({ code: 'agent-no-change' });
  });

  it('finds a worktree again after a crash', async () => {
    const agent = await room.agentOn(source.path);
    await agent.run('echo x > x');
    const { mounts: _mounts, ...record } = agent.worktree;
    const reopened = await room.store.recall('default', source.path);
    if (reopened === undefined) throw new Error('the repository was forgotten');
    const worktree = reopened.recallWorktree(JSON.parse(JSON.stringify(record)) as typeof record);
    expect((await harvest({ ...agent.harvestOrder(), repository: reopened, worktree })).files).toEqual(['x']);
  });

  it('saves and removes what a crash left while its source is away', async () => {
    const agent = await room.agentOn(source.path);
    await agent.run('echo half > half');
    const { mounts: _mounts, ...record } = agent.worktree;
    renameSync(source.path, `${source.path}.away`);
    try {
      await expect(room.store.open('default', source.path)).rejects.toMatchObject({ code: 'repository-missing' });
      const repository = await new RepositoryStore({ root: dirname(agent.repository.dir) }).recall(
        'default',
        source.path,
      );
      if (repository === undefined) throw new Error('the repository was forgotten');
      const worktree = repository.recallWorktree(record);
      const saved = await salvage({ ...agent.harvestOrder(), repository, worktree });
      expect(git(salvageDirOf(repository.dir), 'show', `${saved?.commit ?? ''}:half`)).toBe('half');
      await repository.removeWorktree(worktree);
      expect(existsSync(worktree.dir) || existsSync(worktree.adminDir)).toBe(false);
    } finally {
      renameSync(`${source.path}.away`, source.path);
    }
  });

  it('recalls nothing that was never opened', async () => {
    expect(await room.store.recall('default', source.path)).toBeUndefined();
  });

  it('never pushes over what is there, nor into a checkout', async () => {
    const remote = room.bareCloneOf(source);
    const agent = await room.agentOn(remote);
    await agent.run('echo x > x');
    const { tree } = await harvest(agent.harvestOrder());
    const { repository, worktree } = agent;
    const commitWith = (message: string) =>
      commitHarvest({
        repository,
        tree,
        parents: [worktree.commit],
        branch: 'b',
        message,
        author: { name: 'a', email: 'b' },
        trailers: {},
      });
    const [first, second] = [await commitWith('first'), await commitWith('second')];
    await push({ repository, branch: 'b', commit: first });
    await expect(push({ repository, branch: 'b', commit: second })).rejects.toMatchObject({ reason: 'moved' });
    expect(git(remote, 'rev-parse', 'refs/heads/b')).toBe(first);

    writeFileSync(join(remote, 'hooks', 'update'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    await expect(push({ repository, branch: 'c', commit: second })).rejects.toMatchObject({ reason: 'hook' });

    for (const path of [source.path, join(source.path, '.git')]) {
      const open = await room.store.open('default', path);
      await expect(push({ repository: open, branch: 'b', commit: worktree.commit })).rejects.toMatchObject({
        reason: 'checkout',
      });
    }
    expect(git(source.path, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main');
  });

  it(
    'never writes to the checkout that it clones',
    proves('ORC-111', async () => {
      const before = snapshot(source.path);
      const agent = await room.agentOn(source.path);
      await agent.run('echo x > x; echo y > README.md');
      await harvest(agent.harvestOrder());
      await agent.repository.removeWorktree(agent.worktree);
      expect(snapshot(source.path)).toEqual(before);
    }),
  );

  it('keeps tenants apart, and their repositories’ paths from being guessed', async () => {
    const mine = await room.store.open('mine', source.path);
    const yours = await room.store.open('yours', source.path);
    expect(mine.dir).not.toBe(yours.dir);
    expect(lstatSync(join(mine.dir, '..')).mode & 0o777).toBe(0o711);
    expect(await room.store.open('mine', `file://${source.path}`)).toMatchObject({ dir: mine.dir });
  });

  it('clones once where several agents start at the same moment', async () => {
    const opened = await Promise.all([1, 2, 3, 4].map(() => room.store.open('default', source.path)));
    expect(new Set(opened.map(({ dir }) => dir)).size).toBe(1);
    const agents = await Promise.all(['a', 'b', 'c'].map((agentId) => room.agentOn(source.path, { agentId })));
    expect(new Set(agents.map(({ worktree }) => worktree.adminDir)).size).toBe(3);
  });

  // A fetch that met a worktree that was being made failed with "bad object worktrees/…/HEAD".
  it('brings the repository up to date while worktrees are made and removed', async () => {
    for (let round = 0; round < 4; round += 1) {
      source.commit(`Round ${String(round)}`, { 'round.txt': String(round) });
      const starts = Array.from({ length: 12 }, async (_, index) => {
        const agent = await room.agentOn(source.path, { agentId: `a${String(round)}-${String(index)}` });
        await agent.repository.removeWorktree(agent.worktree);
      });
      await Promise.all(starts);
    }
  });
});

describe('what a spawn may name', () => {
  let room: GitRoom;
  beforeEach(() => (room = new GitRoom()));
  afterEach(() => room[Symbol.dispose]());

  it.each([
    ['a missing path', '/nonexistent/repository'],
    ['a path that is no repository', '/usr/bin'],
    ['a relative path', 'repository'],
    ['a path upwards', '/usr/../etc'],
    ['an option', '--upload-pack=touch /tmp/x'],
    ['a program', 'ext::sh -c "touch /tmp/x"'],
    ['a descriptor', 'fd::17'],
    ['plain http', 'http://example.org/x.git'],
    ['git without protection', 'git://example.org/x.git'],
    ['a password', 'https://me:secret@example.org/x.git'],
    ['a host like an option', 'ssh://-oProxyCommand=touch/x'],
    ['a user like an option', '-oProxyCommand=touch@host:x'],
    ['a host like an option, short', '-oProxyCommand=x:y'],
    ['another host’s file', 'file://host/etc'],
    ['a line end', '/usr/bin\n/x'],
    ['nothing', ''],
  ])('refuses %s', async (_, repository) => {
    await expect(room.store.open('default', repository)).rejects.toMatchObject({ code: 'repository-missing' });
  });

  it('does not blame the source for a lock of ours that is held: a later try may succeed', async () => {
    using source = new TestRepository();
    git(source.path, 'branch', 'gone');
    const { dir } = await room.store.open('default', source.path);
    git(dir, 'pack-refs', '--all');
    git(source.path, 'branch', '-D', 'gone');
    writeFileSync(join(dir, 'packed-refs.lock'), '');
    const fault: unknown = await room.store.open('default', source.path).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(LocalFault);
    const { code, sentence, detail } = fault as LocalFault;
    expect(code).toBe('repository-unavailable');
    expect(detail).toMatch(/packed-refs\.lock/);
    expect(sentence).not.toMatch(/fetch|lock/);
  });

  it.each([
    ['a directory .git', 'git'],
    ['a twin of it', 'GIT'],
  ])('says that a source which holds %s is not safe to check out', (_, letters) =>
    proves('SEC-02', async () => {
      using source = new TestRepository();
      const forge = (type: string, input: Buffer | string): string =>
        execFileSync('git', ['hash-object', '-w', '--literally', '--stdin', '-t', type], { cwd: source.path, input })
          .toString()
          .trim();
      const entry = (mode: string, name: string, id: string): Buffer =>
        Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(id, 'hex')]);
      const inner = forge(
        'tree',
        entry('100644', 'config', forge('blob', `[core]\n\tfsmonitor = touch ${room.marker}\n`)),
      );
      const tree = forge('tree', entry('40000', `.${letters}`, inner));
      const commit = git(source.path, 'commit-tree', '-m', 'x', tree);
      git(source.path, 'update-ref', 'refs/heads/main', commit);
      await expect(room.store.open('default', source.path)).rejects.toMatchObject({ code: 'repository-unsafe' });
      expect(room.isMarked).toBe(false);
    })(),
  );

  it('says repository-empty where there is no commit', async () => {
    git(room.parent, 'init', '-q', 'empty');
    await expect(room.store.open('default', join(room.parent, 'empty'))).rejects.toMatchObject({
      code: 'repository-empty',
    });
  });

  it('finds the default branch, a named one, and the commit of a detached HEAD', async () => {
    using source = new TestRepository();
    git(source.path, 'branch', 'feature/#12-größer');
    const repository = await room.store.open('default', source.path);
    const commit = git(source.path, 'rev-parse', 'HEAD');
    expect(await repository.resolveBranch('')).toEqual({ branch: 'main', commit, ref: 'refs/remotes/origin/main' });
    expect(await repository.resolveBranch('feature/#12-größer')).toMatchObject({
      branch: 'feature/#12-größer',
      commit,
    });
    git(source.path, 'checkout', '-q', '--detach');
    source.commit('Alone', { x: 'x' });
    const detached = await room.store.open('default', source.path);
    expect(await detached.resolveBranch('')).toMatchObject({
      branch: 'HEAD',
      commit: git(source.path, 'rev-parse', 'HEAD'),
    });
  });

  it.each([
    'missing',
    '--upload-pack=x',
    '-x',
    '../../../HEAD',
    'main^',
    'main~1',
    'main@{1}',
    'HEAD',
    'a..b',
    'x.lock',
    '.x',
    'a/',
    'a b',
    'a\nb',
    ':/x',
  ])('says branch-missing for %j', async (branch) => {
    using source = new TestRepository();
    const repository = await room.store.open('default', source.path);
    await expect(repository.resolveBranch(branch)).rejects.toMatchObject({ code: 'branch-missing' });
  });

  it('reads a repository that belongs to somebody else', async () => {
    using source = new TestRepository();
    if (process.getuid?.() === 0) execFileSync('chown', ['-R', '12345', source.path]);
    const repository = await room.store.open('default', source.path);
    expect((await repository.resolveBranch('')).branch).toBe('main');
  });
});

/** Every file of a directory with its size and the time of its last change. */
function snapshot(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => ({ name, stat: statSync(join(root, name)) }))
    .map(({ name, stat }) => `${name} ${String(stat.size)} ${String(stat.mtimeMs)}`)
    .sort();
}
