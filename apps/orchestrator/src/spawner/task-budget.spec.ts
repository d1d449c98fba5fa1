import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { faultSentence } from '@capstan/protocol';
import { bundle } from '../../../../test/support/bundle.js';
import { streamOf } from '../../../../test/support/model-stream.js';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { TestExecution } from '../../test/test-execution.js';

jest.setTimeout(120_000);

describe('the budget of a task', () => {
  it(
    'stops each of its agents with its reason, and is remembered when the orchestrator crashes',
    proves('ORC-L3', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'capstan-budget-'));
      try {
        const agentFile = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
        const edit = { path: 'BEGUN.md', content: 'Begun.\n' };
        await using upstream = await Upstream.start((response) => {
          const call = { type: 'tool_use', id: 'toolu_1', name: 'edit', input: edit };
          streamOf(response, [call], { input: 10, output: 5_900 });
        });
        const provider = { name: 'anthropic' as const, apiKey: 'sk-ant-test-0123456789', url: upstream.url };
        await using execution = await TestExecution.start(agentFile, undefined, provider);
        const { instance } = execution;
        // One such reply of the default model costs 0.059 dollars.
        await instance.writePolicy({ repositories: [`${instance.directory}/*`], taskBudgetMicroUsd: 60_000 });

        const first = await execution.spawn('Begin.', { taskId: 'task-one' });
        const spent = { state: 'failed', error: { code: 'task-budget', sentence: faultSentence('task-budget') } };
        expect(await execution.agentIn(first, 'failed')).toMatchObject({ ...spent, usage: { costMicroUsd: 59_020 } });
        await execution.restart(false);
        const second = await execution.spawn('Go on.', { taskId: 'task-one' });
        expect(await execution.agentIn(second, 'failed')).toMatchObject({ ...spent, usage: { requests: 0 } });
        expect(upstream.requests).toHaveLength(1);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    }),
  );
});
