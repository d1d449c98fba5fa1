import { existsSync, readdirSync, statSync } from 'node:fs';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom, type TestAgent } from '../../test/git-room.js';
import { HarvestInterrupted, salvage, type Harvest } from './index.js';
import { quarantinesOf } from './held-harvest.js';
import type { HarvestLimits } from './harvest-limits.js';
import { salvageDirOf } from './salvage-repository.js';

jest.setTimeout(120_000);

describe('unfinished work that is too much', () => {
  let room: GitRoom;
  let source: TestRepository;
  let agent: TestAgent;

  beforeEach(async () => {
    room = new GitRoom();
    source = new TestRepository({ 'README.md': '# Quay\n', '.gitignore': 'ignored\n', tracked: 'small\n' });
    agent = await room.agentOn(source.path);
  });
  afterEach(() => {
    const { dir } = agent.repository;
    expect(existsSync(quarantinesOf(dir)) ? readdirSync(quarantinesOf(dir)) : []).toEqual([]);
    for (const each of [room, source]) each[Symbol.dispose]();
  });

  const save = (limits: Partial<HarvestLimits> = {}): ReturnType<typeof salvage> =>
    salvage({ ...agent.harvestOrder(), limits });
  const names = (commit: string | undefined): string[] =>
    git(salvageDirOf(agent.repository.dir), 'diff', '--name-only', agent.worktree.commit, commit ?? '').split('\n');

  // A file past what git may write killed `git add`, and everything beside it was lost with it.
  it(
    'is saved without the files that are too large, which the record names',
    proves('ORC-111', async () => {
      const large = ["it's large", 'tracked', '(large)', '-large'];
      await agent.run(`
        for each in "it's large" tracked "(large)" ./-large ignored; do truncate -s 300M -- "$each"; done
        truncate -s 300M .git-like; mkdir deep; echo half > deep/half`);
      const saved = await save();
      expect(names(saved?.commit)).toEqual(['deep/half']);
      const leftOut = [...(saved?.leftOut ?? [])].sort();
      expect(leftOut).toEqual([...large, '.git-like'].sort());
      const message = git(salvageDirOf(agent.repository.dir), 'log', '-1', '--format=%B', saved?.commit ?? '');
      for (const name of leftOut) expect(message).toContain(`Too large, left out: ${name}`);
    }),
  );

  it('is saved with its smaller files where all together are too much', async () => {
    await agent.run('for i in 1 2 3 4 5 6; do head -c 60000 /dev/urandom > large$i; echo $i > small$i; done');
    const saved = await save({ packBytes: 200_000, fileBytes: 65_536 });
    expect(names(saved?.commit)).toEqual([1, 2, 3, 4, 5, 6].map((each) => `small${String(each)}`));
    expect(saved?.leftOut).toHaveLength(6);
  });

  it('is not called saved where nothing of it could be', async () => {
    await agent.run('truncate -s 300M large');
    await expect(save()).rejects.toMatchObject({ code: 'harvest-refused', detail: expect.stringContaining('large') });
  });

  it('is to be tried again where its time was over', async () => {
    await agent.run('echo half > half');
    await expect(save({ timeoutMs: 1 })).rejects.toBeInstanceOf(HarvestInterrupted);
    const saved: Pick<Harvest, 'leftOut'> | undefined = await save();
    expect(saved?.leftOut).toEqual([]);
  });

  it(
    'is read by no later agent: neither by its ref, nor by the ids of what it holds',
    proves(['ORC-111', 'SEC-02'], async () => {
      await agent.run('echo "what only its owner may see" > half');
      const saved = await save();
      const blob = git(salvageDirOf(agent.repository.dir), 'rev-parse', `${saved?.commit ?? ''}:half`);
      const later = await room.agentOn(source.path, { agentId: 'later' });
      const said = await later.run(`
        git for-each-ref refs/capstan/salvage; git log --all --format=%s
        for id in ${saved?.commit ?? ''} ${blob}; do git cat-file -e $id 2>/dev/null || echo none; done
        grep -rl 'agent-one' /opt/capstan/repository.git/packed-refs /opt/capstan/repository.git/refs 2>/dev/null || echo none`);
      expect(said).toBe('Begin\nnone\nnone\nnone\n');
      if (process.getuid?.() === 0) expect(statSync(salvageDirOf(agent.repository.dir)).mode & 0o077).toBe(0);
    }),
  );
});
