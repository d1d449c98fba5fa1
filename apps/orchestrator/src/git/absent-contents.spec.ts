import type { WarningView } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom } from '../../test/git-room.js';
import { absentContents } from './index.js';

jest.setTimeout(60_000);

describe('what a work tree lacks', () => {
  let room: GitRoom;
  let source: TestRepository;

  beforeEach(() => {
    room = new GitRoom();
    source = new TestRepository({ 'README.md': '# Quay\n', 'deep/er/file.md': 'x\n' });
  });
  afterEach(() => {
    for (const each of [room, source]) each[Symbol.dispose]();
  });

  const warnings = async (): Promise<WarningView[]> => {
    const { repository, worktree } = await room.agentOn(source.path);
    return absentContents(repository, worktree);
  };
  /** As `git submodule add` leaves it; it needs no other repository. */
  const link = (path: string): void => {
    const head = git(source.path, 'rev-parse', 'HEAD');
    git(source.path, 'update-index', '--add', '--cacheinfo', `160000,${head},${path}`);
    git(source.path, 'commit', '--quiet', '--message', 'Link');
  };

  it('is nothing where there are neither submodules nor files of Git LFS', async () => {
    source.commit('Attributes', { '.gitattributes': '* text=auto\n# *.psd filter=lfs\n*.x filter=lfsx\n' });
    expect(await warnings()).toEqual([]);
  });

  it(
    'is the files of submodules, named by their directories, with or without a .gitmodules',
    proves('ORC-110', async () => {
      source.commit('Modules', { '.gitmodules': '[submodule "a"]\n\tpath = vendor/a\n\turl = https://x.example/a\n' });
      for (const path of ['vendor/a', 'deep/er/b', 'line\nend']) link(path);
      const [warning, ...more] = await warnings();
      expect(more).toEqual([]);
      expect(warning).toEqual({
        code: 'repository-submodules',
        sentence: 'Submodules are not fetched, their directories are empty here: deep/er/b, "line\\012end", vendor/a.',
      });
    }),
  );

  it('names some of many', async () => {
    for (let at = 0; at < 8; at += 1) link(`m${String(at)}`);
    expect((await warnings())[0]?.sentence).toMatch(/: m0, m1, m2, m3, m4 and 3 more\.$/);
  });

  it(
    'is the files of Git LFS, named by their patterns and where these count',
    proves('ORC-110', async () => {
      source.commit('LFS', {
        '.gitattributes': '*.psd filter=lfs diff=lfs merge=lfs -text\n*.md text\n',
        'deep/er/.gitattributes': '  assets/*.bin -text filter=lfs\r\n',
      });
      expect(await warnings()).toEqual([
        {
          code: 'repository-lfs',
          sentence: expect.stringMatching(
            /not fetched: here they are their pointers.* committed as it is: \*\.psd, deep\/er\/assets\/\*\.bin\.$/,
          ),
        },
      ]);
    }),
  );

  it('passes over attributes that are a link, or too large to be any', async () => {
    source.commit('Large', {
      '.gitattributes': `*.psd filter=lfs\n${'# of no use\n'.repeat(100_000)}`,
      target: '* filter=lfs\n',
    });
    const blob = git(source.path, 'rev-parse', 'HEAD:target');
    git(source.path, 'update-index', '--add', '--cacheinfo', `120000,${blob},deep/.gitattributes`);
    git(source.path, 'commit', '--quiet', '--message', 'Link');
    expect(await warnings()).toEqual([]);
  });
});
