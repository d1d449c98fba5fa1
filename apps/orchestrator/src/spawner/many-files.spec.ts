import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTerminal } from '@capstan/protocol';
import { bundle } from '../../../../test/support/bundle.js';
import { sourceOfMany } from '../../../../test/support/many-files.js';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { TestExecution } from '../../test/test-execution.js';

// Files are made one by one, twice as slow on a machine that does something else too.
const PATIENCE_MS = 900_000;
jest.setTimeout(PATIENCE_MS + 60_000);

const FILES = 100_000;
const MAP = 'docs/REPOSITORY-MAP.md';

describe('an agent on a repository of many files', () => {
  it(
    `works on ${FILES.toLocaleString('en')} of them; its commit has the one that it made, and nothing is left`,
    proves(['ORC-110', 'ORC-118'], async () => {
      const directory = mkdtempSync(join(tmpdir(), 'capstan-many-'));
      try {
        const agentFile = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
        await using execution = await TestExecution.start(agentFile);
        const repository = sourceOfMany(join(execution.instance.directory, 'many.git'), FILES);
        const context = { repository, workItems: ['Map this repository.'] };
        const id = await execution.spawn('', { context, options: { playbook: 'repository-map' } });
        const ended = async () => {
          const agent = await execution.store.find(id);
          return agent !== undefined && isTerminal(agent.state) && agent;
        };
        const { state, error, harvest } = await until('it has ended', ended, PATIENCE_MS);
        expect({ state, error, harvest }).toMatchObject({
          state: 'completed',
          error: null,
          harvest: { files: [MAP], pushed: true },
        });
        const commit = harvest?.commit ?? '';
        expect(git(repository, 'rev-parse', `${commit}^`)).toBe(git(repository, 'rev-parse', 'main'));
        expect(git(repository, 'diff', '--name-status', 'main', commit)).toBe(`A\t${MAP}`);
        expect(git(repository, 'show', `${commit}:${MAP}`)).toContain(`| tracked files | ${String(FILES)} |`);
        const { agents } = execution.settings.paths;
        await until('its work tree is removed', () => readdirSync(agents).length === 0, PATIENCE_MS);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    }),
  );
});
