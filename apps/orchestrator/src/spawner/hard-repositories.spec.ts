import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { hardRepositoriesContract } from '../../test/contract/hard-repositories.contract.js';
import { HardRoom } from '../../test/hard-room.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  hardRepositoriesContract(BUBBLEWRAP);
});

describe('an agent on a repository that is not as one would wish', () => {
  let room: HardRoom;
  let source: TestRepository;

  beforeAll(async () => (room = await HardRoom.start(BUBBLEWRAP)));
  afterAll(() => room[Symbol.asyncDispose]());
  beforeEach(() => (source = new TestRepository()));
  afterEach(() => source[Symbol.dispose]());

  it(
    'runs where submodules and Git LFS are used; its record and its log say what it was not given',
    proves('ORC-110', async () => {
      source.commit('LFS', { '.gitattributes': '*.psd filter=lfs diff=lfs merge=lfs -text\n', 'a.psd': 'pointer\n' });
      const head = git(source.path, 'rev-parse', 'HEAD');
      git(source.path, 'update-index', '--add', '--cacheinfo', `160000,${head},vendor/a`);
      git(source.path, 'commit', '--quiet', '--message', 'Link');
      const remote = room.remoteOf(source);
      const id = await room.spawn(remote, 'write');
      const { warnings, harvest } = await room.execution.agentIn(id, 'completed');
      expect(warnings).toEqual([
        { code: 'repository-submodules', sentence: expect.stringContaining('vendor/a') },
        { code: 'repository-lfs', sentence: expect.stringContaining('*.psd') },
      ]);
      const text = await room.execution.textOf(id);
      for (const { sentence } of warnings ?? []) expect(text).toContain(sentence);
      expect(harvest?.files).toEqual(['done.md']);
      expect(git(remote, 'ls-tree', harvest?.branch ?? '', 'vendor/a')).toContain(head);
    }),
  );

  it(
    'and that is killed while its work is pushed leaves in record and audit which commit the source may have',
    proves(['ORC-117', 'ORC-112'], async () => {
      const remote = room.remoteOf(source);
      const began = join(room.execution.instance.directory, 'began');
      writeFileSync(join(remote, 'hooks', 'pre-receive'), `#!/bin/sh\ntouch ${began}\nexec sleep 60\n`, {
        mode: 0o755,
      });
      const id = await room.spawn(remote, 'write');
      await until('it is pushed', () => existsSync(began) || undefined, 120_000);
      await room.execution.orchestrator.api.killswitch.kill(id, 'enough');
      const { warnings, taskId, harvest } = await room.execution.agentIn(id, 'killed');
      expect(harvest).toBeNull();
      const branch = `capstan/${taskId}`;
      expect(warnings).toEqual([{ code: 'push-unknown', sentence: expect.stringContaining(branch) }]);
      const commit = /commit ([0-9a-f]{40}) /.exec(warnings?.[0]?.sentence ?? '')?.[1];
      const told = `"branch":"${branch}","commit":"${commit ?? ''}","pushed":"unknown"`;
      const { audit } = room.execution.settings.paths;
      const detail = (): boolean | undefined => readFileSync(audit, 'utf8').includes(told) || undefined;
      await until('the audit log names it', detail);
      expect(git(remote, 'branch', '--list', 'capstan/*')).toBe('');
    }),
  );

  it('has nothing to say of any other', async () => {
    expect(
      (await room.execution.agentIn(await room.spawn(room.remoteOf(source), 'write'), 'completed')).warnings,
    ).toBeNull();
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
      const remote = room.remoteOf(source);
      if (!isOfSource) change(remote);
      if (code === 'branch-missing' && branch === '') git(remote, 'symbolic-ref', 'HEAD', 'refs/heads/main');
      const id = await room.spawn(remote, 'write', { branch });
      expect(await room.failed(id)).toEqual({ code, sentence: expect.stringMatching(/^The repository .*\.$/) });
    })(),
  );

  it(
    'starts from the commit of a HEAD that is on no branch',
    proves('ORC-110', async () => {
      const remote = room.remoteOf(source);
      const commit = source.commit('Alone', { 'alone.md': 'x\n' });
      git(source.path, 'push', '--quiet', remote, `${commit}:refs/heads/other`);
      writeFileSync(join(remote, 'HEAD'), `${commit}\n`);
      const { harvest } = await room.execution.agentIn(await room.spawn(remote, 'write'), 'completed');
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
      const remote = room.remoteOf(source);
      writeFileSync(join(remote, 'hooks', 'pre-receive'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      const id = await room.spawn(remote, 'write');
      expect(await room.failed(id)).toEqual({ code: 'push-rejected', sentence });
      expect(await room.salvaged(id, 'done.md')).toBe(`# ${id}`);
      expect(git(remote, 'branch', '--list', 'capstan/*')).toBe('');
    })(),
  );
});
