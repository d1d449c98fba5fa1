import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentId, AgentView } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { SmallDisk } from '../../test/small-disk.js';
import { TestExecution } from '../../test/test-execution.js';

jest.setTimeout(300_000);

const TEST_AGENT = join(__dirname, '..', '..', 'test', 'test-agent.mjs');

describe('an agent on a repository that is not as one would wish', () => {
  let execution: TestExecution;
  let source: TestRepository;
  let count = 0;

  beforeAll(async () => (execution = await TestExecution.start(TEST_AGENT)));
  afterAll(() => execution[Symbol.asyncDispose]());
  beforeEach(() => (source = new TestRepository()));
  afterEach(() => source[Symbol.dispose]());

  /** A bare remote with what the source has now. */
  const remoteOf = (): string => {
    count += 1;
    const remote = join(execution.instance.directory, `hard-${String(count)}.git`);
    git(source.path, 'clone', '--quiet', '--bare', source.path, remote);
    mkdirSync(join(remote, 'hooks'), { recursive: true });
    return remote;
  };
  const spawn = (remote: string, behaviour: string, branch = ''): Promise<AgentId> =>
    execution.spawn(behaviour, { context: { repository: remote, workItems: [behaviour], branch } });
  const salvaged = async (id: AgentId, path: string): Promise<string> => {
    const { repositories } = execution.settings.paths;
    const ref = `refs/capstan/salvage/${id}`;
    const held = await until('its work is saved', () => repositoriesWith(repositories, ref)[0], 120_000);
    await until('its log says so', async () => (await execution.textOf(id)).includes(ref) || undefined);
    return git(held, 'show', `${ref}:${path}`);
  };
  const failed = async (id: AgentId): Promise<AgentView['error']> => (await execution.agentIn(id, 'failed')).error;

  it(
    'runs where submodules and Git LFS are used; its record and its log say what it was not given',
    proves('ORC-110', async () => {
      source.commit('LFS', { '.gitattributes': '*.psd filter=lfs diff=lfs merge=lfs -text\n', 'a.psd': 'pointer\n' });
      const head = git(source.path, 'rev-parse', 'HEAD');
      git(source.path, 'update-index', '--add', '--cacheinfo', `160000,${head},vendor/a`);
      git(source.path, 'commit', '--quiet', '--message', 'Link');
      const remote = remoteOf();
      const id = await spawn(remote, 'write');
      const { warnings, harvest } = await execution.agentIn(id, 'completed');
      expect(warnings).toEqual([
        { code: 'repository-submodules', sentence: expect.stringContaining('vendor/a') },
        { code: 'repository-lfs', sentence: expect.stringContaining('*.psd') },
      ]);
      const text = await execution.textOf(id);
      for (const { sentence } of warnings ?? []) expect(text).toContain(sentence);
      expect(harvest?.files).toEqual(['done.md']);
      expect(git(remote, 'ls-tree', harvest?.branch ?? '', 'vendor/a')).toContain(head);
    }),
  );

  it(
    'and that is killed while its work is pushed leaves in record and audit which commit the source may have',
    proves(['ORC-117', 'ORC-112'], async () => {
      const remote = remoteOf();
      const began = join(execution.instance.directory, 'began');
      writeFileSync(join(remote, 'hooks', 'pre-receive'), `#!/bin/sh\ntouch ${began}\nexec sleep 60\n`, {
        mode: 0o755,
      });
      const id = await spawn(remote, 'write');
      await until('it is pushed', () => existsSync(began) || undefined, 120_000);
      await execution.orchestrator.api.killswitch.kill(id, 'enough');
      const { warnings, taskId, harvest } = await execution.agentIn(id, 'killed');
      expect(harvest).toBeNull();
      const branch = `capstan/${taskId}`;
      expect(warnings).toEqual([{ code: 'push-unknown', sentence: expect.stringContaining(branch) }]);
      const commit = /commit ([0-9a-f]{40}) /.exec(warnings?.[0]?.sentence ?? '')?.[1];
      const told = `"branch":"${branch}","commit":"${commit ?? ''}","pushed":"unknown"`;
      const { audit } = execution.settings.paths;
      const detail = (): boolean | undefined => readFileSync(audit, 'utf8').includes(told) || undefined;
      await until('the audit log names it', detail);
      expect(git(remote, 'branch', '--list', 'capstan/*')).toBe('');
    }),
  );

  it('has nothing to say of any other', async () => {
    expect((await execution.agentIn(await spawn(remoteOf(), 'write'), 'completed')).warnings).toBeNull();
  });

  it.each([
    ['has no commit', () => git(source.path, 'update-ref', '-d', 'HEAD'), '', 'repository-empty'],
    ['has not the branch', () => '', 'feature/none', 'branch-missing'],
    ['has a HEAD on no branch that is there', () => git(source.path, 'branch', '--move', 'else'), '', 'branch-missing'],
    ['is gone', (remote: string) => execFileSync('rm', ['-r', remote]), '', 'repository-missing'],
  ] as const)('ends as failed where it %s', (_, change, branch, code) =>
    proves('ORC-110', async () => {
      const isOfSource = code !== 'repository-missing';
      if (isOfSource) change('');
      const remote = remoteOf();
      if (!isOfSource) change(remote);
      if (code === 'branch-missing' && branch === '') git(remote, 'symbolic-ref', 'HEAD', 'refs/heads/main');
      const id = await spawn(remote, 'write', branch);
      expect(await failed(id)).toEqual({ code, sentence: expect.stringMatching(/^The repository .*\.$/) });
    })(),
  );

  it(
    'starts from the commit of a HEAD that is on no branch',
    proves('ORC-110', async () => {
      const remote = remoteOf();
      const commit = source.commit('Alone', { 'alone.md': 'x\n' });
      git(source.path, 'push', '--quiet', remote, `${commit}:refs/heads/other`);
      writeFileSync(join(remote, 'HEAD'), `${commit}\n`);
      const { harvest } = await execution.agentIn(await spawn(remote, 'write'), 'completed');
      expect(harvest?.baseCommit).toBe(commit);
    }),
  );

  it.each([
    ['a hook', 'exit 1', "A hook of the remote's refused the branch."],
    [
      'the remote’s protection',
      'echo "GH006: Protected branch" >&2; exit 1',
      'The remote protects this branch from pushes.',
    ],
  ])('ends as push-rejected where %s does not take its work, which is saved', (_, script, sentence) =>
    proves(['ORC-110', 'ORC-111'], async () => {
      const remote = remoteOf();
      writeFileSync(join(remote, 'hooks', 'pre-receive'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      const id = await spawn(remote, 'write');
      expect(await failed(id)).toEqual({ code: 'push-rejected', sentence });
      expect(await salvaged(id, 'done.md')).toBe(`# ${id}`);
      expect(git(remote, 'branch', '--list', 'capstan/*')).toBe('');
    })(),
  );

  it(
    'has names taken in as they are, and shows them so that each is plain text',
    proves('ORC-110', async () => {
      const remote = remoteOf();
      const { harvest } = await execution.agentIn(await spawn(remote, 'names'), 'completed');
      const quoted = ['"caf\\351"', '"line\\012end"', '"tab\\011\\"quote\\""', '-option'];
      expect([...(harvest?.files ?? [])].sort()).toEqual(quoted.sort());
      const names = execFileSync('git', ['-C', remote, 'ls-tree', '-z', '--name-only', harvest?.commit ?? '']);
      expect(names.includes(Buffer.from('caf\xe9\0', 'latin1')) && names.includes('line\nend\0')).toBe(true);
      // The next agent is given them.
      const again = await execution.agentIn(await spawn(remote, 'write', harvest?.branch), 'completed');
      expect(again.harvest?.files).toEqual(['done.md']);
    }),
  );

  it(
    'ends as harvest-refused where it leaves two gigabytes; the rest of its work is saved, and its log names the file',
    proves(['ORC-110', 'ORC-111'], async () => {
      const remote = remoteOf();
      const id = await spawn(remote, 'huge');
      expect((await failed(id))?.code).toBe('harvest-refused');
      expect(await salvaged(id, 'half.md')).toBe('half of it');
      expect(await execution.textOf(id)).toContain('too large: huge.');
    }),
  );

  // A file system of its own needs root.
  (process.getuid?.() === 0 ? it : it.skip)(
    'ends as disk-full where there is no room for its work, which is saved as soon as there is some',
    proves(['ORC-110', 'ORC-111'], async () => {
      const small = await TestExecution.start(TEST_AGENT);
      try {
        using disk = SmallDisk.mount(2, small.settings.paths.repositories);
        const id = await small.spawn('large');
        const { error } = await small.agentIn(id, 'failed');
        expect(error).toEqual({ code: 'disk-full', sentence: "The instance's disk is full." });
        await until('its log says so', async () => (await small.textOf(id)).includes('not be saved yet') || undefined);
        expect(await small.store.untidy()).toContain(id);
        disk.resize(64);
        await until('it is saved', async () => (await small.store.untidy()).length === 0 || undefined, 120_000);
        const [repository = ''] = repositoriesWith(disk.path, `refs/capstan/salvage/${id}`);
        expect(git(repository, 'cat-file', '-s', `refs/capstan/salvage/${id}:noise`)).toBe('3000000');
      } finally {
        await small[Symbol.asyncDispose]();
      }
    }),
  );
});

/** Repositories below a directory that have a ref. */
function repositoriesWith(directory: string, ref: string): string[] {
  return readdirSync(directory)
    .filter((name) => existsSync(join(directory, name, 'HEAD')))
    .map((name) => join(directory, name))
    .filter((repository) => git(repository, 'for-each-ref', ref) !== '');
}
