import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { Output } from '../output/output.js';
import { salvage } from './agents-salvage.js';

describe('capstan agents salvage', () => {
  let directory: string;
  let source: TestRepository;
  let bare: string;
  let lines: string[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-salvage-'));
    source = new TestRepository();
    mkdirSync(join(directory, 'repositories'));
    bare = join(directory, 'repositories', 'one.git');
    const base = git(source.path, 'rev-parse', 'HEAD');
    const work = source.commit('Unfinished work of agent wren\n\nCapstan-Agent: wren\nCapstan-Task: nest', {
      'half.md': 'half\n',
    });
    git(directory, 'clone', '-q', '--bare', source.path, bare);
    git(bare, 'update-ref', 'refs/capstan/salvage/wren', work);
    git(bare, 'update-ref', 'refs/heads/main', base);
    lines = [];
  });
  afterEach(() => {
    source[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  const said = async (id?: string, options: Parameters<typeof salvage>[3] = {}): Promise<string> => {
    const sink = { write: (text: string) => lines.push(text) };
    lines = [];
    await salvage(new Output({ isJson: false, streams: { out: sink, err: sink } }), directory, id, options);
    return lines.join('');
  };

  it(
    'lists, shows, hands over as a branch, and forgets where it is told',
    proves('ORC-111', async () => {
      expect(await said()).toMatch(/ {2}wren {2}nest {2}[0-9a-f]{12}\n$/);
      expect(await said('wren')).toMatch(/half\.md \| 1 \+/);
      using mine = new TestRepository();
      expect(await said('wren', { into: mine.path })).toContain('salvage/wren');
      expect(git(mine.path, 'show', 'salvage/wren:half.md')).toBe('half');
      await said('wren', { drop: true });
      expect(await said()).toBe('There is no unfinished work here.\n');
      await expect(said('wren')).rejects.toMatchObject({ code: 'salvage-missing' });
    }),
  );

  it('lists and shows work whose files are kept because they could not be saved', async () => {
    const agents = join(directory, 'agents');
    const files = join(agents, 'a', 'agent-robin-roost');
    mkdirSync(files, { recursive: true });
    const note = { agentId: 'robin', worktree: { taskId: 'roost', dir: files } };
    const file = join(agents, 'a', 'session.json');
    writeFileSync(file, JSON.stringify(note));
    expect(await said()).not.toContain('robin');
    writeFileSync(file, JSON.stringify({ ...note, kept: { at: '2030-01-01T00:00:00Z', why: 'large is larger' } }));
    expect(await said()).toMatch(/ {2}robin {2}roost {2}not saved: \/.*agent-robin-roost\n/);
    expect(await said('robin')).toContain('why     large is larger');
    await expect(said('robin', { drop: true })).rejects.toMatchObject({ code: 'usage' });
  });

  it('lists nothing of an instance that has had no agent yet, and refuses what is none', async () => {
    rmSync(join(directory, 'repositories'), { recursive: true });
    await expect(said()).rejects.toMatchObject({ code: 'usage' });
    writeFileSync(join(directory, 'instance.json'), '{}');
    expect(await said()).toBe('There is no unfinished work here.\n');
  });

  it.each([
    ['../x', {}, 'id-malformed'],
    ['--output=x', {}, 'id-malformed'],
    [undefined, { drop: true }, 'usage'],
    ['robin', {}, 'salvage-missing'],
    ['wren', { into: '/nonexistent' }, 'salvage-git'],
  ] as const)('refuses %j %j', async (id, options, code) => {
    await expect(said(id, options)).rejects.toMatchObject({ code });
  });
});
