import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { agentIn, spawnAgent } from '../support/agents.js';
import { capstanJson } from '../support/cli.js';
import { Upstream } from '../support/model-upstream.js';
import { streamOf } from '../support/model-stream.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

const PATIENCE_MS = 120_000;

/** Of every kind that git can hold; the last file says that all of it is there. */
const WORK = `
echo 'half of it' >> README.md
rm old.md
mkdir -p deep/er && head -c 300000 /dev/urandom > deep/er/noise.bin
printf '#!/bin/sh\\n' > run.sh && chmod +x run.sh
ln -s README.md link
git hash-object deep/er/noise.bin > /tmp/id && cp /tmp/id noise.new && mv noise.new noise.id
sleep 3600`;
const CHANGES = ['M\tREADME.md', 'A\tdeep/er/noise.bin', 'A\tlink', 'A\tnoise.id', 'D\told.md', 'A\trun.sh'];

describe('unfinished work of agents that were killed', () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'capstan-salvage-'));
  const repository = new TestRepository({ 'README.md': '# Quay\n', 'old.md': 'old\n', 'kept.md': 'kept\n' });
  let upstream: Upstream;
  let mesh: Mesh;

  beforeAll(async () => {
    const input = { command: WORK, timeout_seconds: 7200 };
    upstream = await Upstream.start((response) =>
      streamOf(response, [{ type: 'tool_use', id: 'toolu_work', name: 'bash', input }], { input: 10, output: 10 }),
    );
    const model = { provider: 'anthropic' as const, apiKey: 'sk-ant-test-0123456789', url: upstream.url };
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, model, stateDir });
  });
  afterAll(async () => {
    await mesh.stop();
    await upstream[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
    rmSync(stateDir, { recursive: true, force: true });
  });

  const instanceDir = (): string => mesh.instance('quay').dir;
  const filesOf = (agentId: string, name: string): string[] =>
    globSync(join(instanceDir(), 'agents', '*', `agent-${agentId}-*`, name));

  /** `capstan agents salvage … --json`: its exit code and its one object. */
  const salvage = (...args: string[]) => capstanJson(['agents', 'salvage', ...args, '--local', instanceDir()]);
  const kept = async (): Promise<{ agentId: string; taskId: string; commit: string; base: string }[]> =>
    (await salvage()).answer['kept'] as Awaited<ReturnType<typeof kept>>;

  async function killedAtWork(): Promise<string> {
    const { agentId } = await spawnAgent(mesh, 'quay');
    await until('it has done its half', () => filesOf(agentId, 'noise.id').length > 0, PATIENCE_MS);
    expect(await mesh.client.kill(agentId)).toMatchObject({ outcome: 'killed', confirmed: true });
    await agentIn(mesh, agentId, 'killed');
    await until('its work tree is removed', () => filesOf(agentId, '').length === 0, PATIENCE_MS);
    return agentId;
  }

  it(
    'is listed, shown, handed over in full to a repository of its owner, and gone once it is dropped',
    proves(['ORC-111', 'CLI-01'], async () => {
      expect(await kept()).toEqual([]);
      const [agentId, other] = [await killedAtWork(), await killedAtWork()];
      const listed = await kept();
      expect(listed.map((each) => each.agentId)).toEqual([agentId, other]);
      const { taskId } = await mesh.client.agent(agentId);
      const base = git(repository.path, 'rev-parse', 'HEAD');
      expect(listed[0]).toMatchObject({ taskId, base });
      const shown = await salvage(agentId);
      expect(shown).toMatchObject({ code: 0, answer: { agentId, taskId, commit: listed[0]?.commit } });
      expect(shown.answer['stat']).toContain('deep/er/noise.bin');

      // One that has the history, and one that has nothing at all.
      using mine = new TestRepository();
      git(mine.path, 'fetch', '--quiet', repository.path, 'main');
      using empty = new TestRepository();
      for (const { path } of [mine, empty]) {
        const branch = `salvage/${agentId}`;
        expect(await salvage(agentId, '--into', path)).toMatchObject({ code: 0, answer: { into: path, branch } });
        expect(git(path, 'rev-parse', branch, `${branch}^`).split('\n')).toEqual([listed[0]?.commit, base]);
        const changes = git(path, 'diff', '--name-status', '--no-renames', base, branch);
        expect(changes.split('\n')).toEqual(CHANGES);
        expect(git(path, 'show', `${branch}:README.md`)).toBe('# Quay\nhalf of it');
        expect(git(path, 'show', `${branch}:kept.md`)).toBe('kept');
        expect(git(path, 'rev-parse', `${branch}:deep/er/noise.bin`)).toBe(git(path, 'show', `${branch}:noise.id`));
        expect(git(path, 'cat-file', '-s', `${branch}:deep/er/noise.bin`)).toBe('300000');
        expect(git(path, 'ls-tree', branch, 'link', 'run.sh')).toMatch(/^120000 .*\tlink\n100755 .*\trun\.sh$/);
        git(path, 'fsck', '--full', '--strict');
      }

      // Nothing of the instance need run.
      await mesh.stop();
      expect(await salvage(agentId, '--drop')).toMatchObject({ code: 0, answer: { dropped: listed[0]?.commit } });
      expect((await kept()).map((each) => each.agentId)).toEqual([other]);
      expect(await salvage(agentId)).toMatchObject({ code: 3, answer: { error: { code: 'salvage-missing' } } });
      expect(git(mine.path, 'show', `salvage/${agentId}:kept.md`)).toBe('kept');
    }),
  );
});
