import { streamOf } from '../../../test/support/model-stream.js';
import { Upstream } from '../../../test/support/model-upstream.js';
import { proves } from '../../../test/support/proves.js';
import { git, TestRepository } from '../../../test/support/repository.js';
import { AgentRoom, type Line } from './agent-room.js';
import { SECRET_KEY } from './gateway-room.js';
import { harvest, salvage } from '../src/git/index.js';

jest.setTimeout(90_000);

const of = <T extends Line['type']>(lines: Line[], type: T) =>
  lines.filter((line): line is Extract<Line, { type: T }> => line.type === type);

/** The same figures as the map's, counted another way. */
function countsOf(path: string): {
  files: number;
  bytes: number;
  commits: string;
  byDirectory: Map<string, number>;
  byKind: Map<string, number>;
} {
  const entries = git(path, 'ls-tree', '-r', '-l', '-z', 'HEAD')
    .split('\0')
    .filter((entry) => entry !== '');
  const names = entries.map((entry) => entry.slice(entry.indexOf('\t') + 1));
  const count = (keys: string[]): Map<string, number> =>
    keys.reduce((all, key) => all.set(key, (all.get(key) ?? 0) + 1), new Map<string, number>());
  return {
    files: names.length,
    bytes: entries.reduce((sum, entry) => sum + Number(entry.split('\t')[0]?.split(/ +/)[3]), 0),
    commits: git(path, 'rev-list', '--count', 'HEAD'),
    byDirectory: count(names.map((name) => (name.includes('/') ? `${name.split('/')[0] ?? ''}/` : '(top level)'))),
    byKind: count(names.map((name) => /[^.](\.[^.]+)$/.exec(name.split('/').at(-1) ?? '')?.[1] ?? '(none)')),
  };
}

function rowsOf(map: string, title: string): Map<string, number> {
  const section = map.split(`## ${title}\n`)[1]?.split('\n## ')[0] ?? '';
  return new Map(
    [...section.matchAll(/^\| `(.+)` \| (\d+) \|$/gm)].map(([, name = '', count]) => [name, Number(count)]),
  );
}

describe('the agent in its sandbox', () => {
  let room: AgentRoom;
  beforeAll(() => (room = new AgentRoom()));
  afterAll(() => room[Symbol.asyncDispose]());

  const PORT = {
    'README.md': '# Port\n',
    'src/crane.ts': 'export {};\n',
    'src/deep/er.ts': '1;\n',
    'docs/größe.md': 'x\n',
    Makefile: 'all:\n',
    '.env': 'A=1\n',
  };
  const MILL = {
    'main.go': 'package main\n',
    'a/b.go': 'package a\n',
    'a/with space.go': 'package a\n',
    'b/archive.tar.gz': 'not really\n',
    'c|d/x': 'pipe\n',
  };

  it.each([
    ['one repository', PORT, 1],
    ['another repository', MILL, 5],
  ])('maps %s: every count is the one that git gives', (_, files, commits) =>
    proves(['ORC-110', 'ORC-L3'], async () => {
      using source = new TestRepository(files);
      for (let more = 1; more < commits; more += 1)
        source.commit(`Go on ${String(more)}`, { [`log/${String(more)}.txt`]: 'x\n' });
      const agent = await room.start(source.path, { playbook: 'repository-map' });
      const { lines, exitCode, complaint } = await agent.end();
      expect({ exitCode, complaint, end: of(lines, 'end') }).toEqual({
        exitCode: 0,
        complaint: '',
        end: [{ type: 'end', reason: 'submitted' }],
      });
      const taken = await harvest(agent.harvestOrder());
      expect(taken.files).toEqual(['docs/REPOSITORY-MAP.md']);

      const map = git(agent.repository.dir, 'show', `${taken.tree}:docs/REPOSITORY-MAP.md`);
      const counts = countsOf(source.path);
      expect(map).toContain(`at commit \`${git(source.path, 'rev-parse', 'HEAD')}\``);
      expect(map).toContain(`| tracked files | ${String(counts.files)} |`);
      expect(map).toContain(`| bytes in tracked files | ${String(counts.bytes)} |`);
      expect(map).toContain(`| commits | ${counts.commits} |`);
      expect(of(lines, 'submit')).toEqual([
        { type: 'submit', summary: `Map the repository: ${String(counts.files)} files, ${counts.commits} commits` },
      ]);
      const shown = (all: Map<string, number>) =>
        new Map([...all].map(([name, count]) => [name.replace('|', '?'), count]));
      expect(rowsOf(map, 'Files by top-level directory')).toEqual(shown(counts.byDirectory));
      expect(rowsOf(map, 'Files by kind')).toEqual(shown(counts.byKind));
      expect(agent.gateway.usage()).toMatchObject({ requests: 4, costMicroUsd: 0 });
      expect(agent.gateway.usage().inputTokens).toBeGreaterThan(100);
    })(),
  );

  it(
    'finds no key anywhere in its sandbox, and is stopped by its budget',
    proves('ORC-L3', async () => {
      using source = new TestRepository();
      const search =
        'env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /run/capstan/task.json 2>/dev/null | tr "\\0" "\\n"; ls -la /run/capstan; grep -rl sk-ant /run /opt/capstan /tmp /etc /workspace 2>/dev/null; true';
      await using upstream = await Upstream.start((response, { body }) => {
        const isFirst = (body['messages'] as unknown[]).length === 1;
        const call = { type: 'tool_use', id: 'toolu_1', name: 'bash', input: { command: search } };
        streamOf(response, isFirst ? [call] : [{ type: 'text', text: 'Nothing.' }], {
          input: 10,
          output: isFirst ? 10 : 6_000,
        });
      });
      const provider = { name: 'anthropic' as const, apiKey: SECRET_KEY, url: upstream.url };
      const agent = await room.start(source.path, { playbook: '', provider, order: { budgetMicroUsd: 60_000 } });
      const { lines } = await agent.end();
      expect(of(lines, 'end')).toEqual([{ type: 'end', reason: 'agent-budget' }]);
      expect(upstream.requests).toHaveLength(2);
      expect(upstream.requests[0]?.headers['x-api-key']).toBe(SECRET_KEY);
      const found = JSON.stringify([lines, upstream.requests.map(({ body }) => body)]);
      expect(found).toContain('gateway.sock');
      expect(found).not.toContain(SECRET_KEY);
    }),
  );

  describe('that does not do as it should', () => {
    let source: TestRepository;
    beforeAll(() => (source = new TestRepository()));
    afterAll(() => source[Symbol.dispose]());

    const run = async (...[playbook, more]: [string, Omit<Parameters<AgentRoom['start']>[1], 'playbook'>?]) => {
      const agent = await room.start(source.path, { playbook, ...more });
      const { lines, exitCode } = await agent.end();
      return { agent, lines, exitCode, reason: of(lines, 'end').at(-1)?.reason };
    };

    it('is reminded, and ends as agent-no-submit; its work can be salvaged', async () => {
      const { agent, exitCode, reason } = await run('never-submit');
      expect({ exitCode, reason }).toEqual({ exitCode: 1, reason: 'agent-no-submit' });
      expect(agent.gateway.usage().requests).toBe(4);
      expect(await salvage(agent.harvestOrder())).toBeDefined();
    });

    it('submits without a change, and the harvest says so', async () => {
      const { agent, reason } = await run('no-change');
      expect(reason).toBe('submitted');
      await expect(harvest(agent.harvestOrder())).rejects.toMatchObject({ code: 'agent-no-change' });
    });

    it(
      'leaves a repository inside the repository, and is refused',
      proves('SEC-02', async () => {
        const { agent, reason } = await run('embedded-repository');
        expect(reason).toBe('submitted');
        await expect(harvest(agent.harvestOrder())).rejects.toMatchObject({
          code: 'harvest-refused',
          detail: expect.stringContaining('inner'),
        });
      }),
    );

    it('says and writes garbage: each line is still one JSON document, and none is forged', async () => {
      const { agent, lines, reason } = await run('garbage');
      expect(reason).toBe('submitted');
      expect(of(lines, 'submit')).toHaveLength(1);
      expect(of(lines, 'submit')[0]?.summary).not.toBe('forged');
      expect(of(lines, 'log').map(({ text }) => text)).toContainEqual(
        expect.stringContaining('outside of the work tree'),
      );
      expect(Math.max(...of(lines, 'log').map(({ text }) => text.length))).toBeLessThanOrEqual(8000);
      await expect(harvest(agent.harvestOrder())).rejects.toMatchObject({ code: 'harvest-refused' });
    });

    it('kills its own loop, and has said nothing of an end', async () => {
      const { lines, exitCode } = await run('crash');
      expect(of(lines, 'end')).toEqual([]);
      expect(exitCode).not.toBe(0);
    });

    it('meets its limit of iterations', async () => {
      const { agent, reason } = await run('endless', { limits: { iterations: 5 } });
      expect(reason).toBe('agent-iterations');
      expect(agent.gateway.usage().requests).toBe(5);
    });

    it('meets its limit of tokens', async () => {
      expect((await run('endless', { limits: { tokens: 2000 } })).reason).toBe('agent-budget');
    });

    it('meets its limit of time, in the middle of a command', async () => {
      expect((await run('long-run', { limits: { timeoutMs: 1500 } })).reason).toBe('agent-timeout');
    });

    it('says that there is no model', async () => {
      expect((await run('missing')).reason).toBe('model-unavailable');
      expect((await run('endless', { order: { model: 'unknown' } })).reason).toBe('model-unavailable');
    });
  });
});
