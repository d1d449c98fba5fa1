import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { faultSentence } from '@capstan/protocol';
import { bundle } from '../../../../test/support/bundle.js';
import { streamOf } from '../../../../test/support/model-stream.js';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestExecution } from '../../test/test-execution.js';

jest.setTimeout(300_000);

const DAY_MS = 86_400_000;

describe('a budget that agents share', () => {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-budget-'));
  let agentFile: string;
  beforeAll(async () => {
    agentFile = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.each([
    ["a task's", 'task-budget', 'taskBudgetMicroUsd', 'task-one'],
    ["a tenant's", 'tenant-budget', 'tenantBudgetMicroUsdPerDay', 'task-two'],
  ] as const)(
    '%s stops each of its agents with its reason, and is remembered when the orchestrator crashes',
    (_, code, limit, secondTask) =>
      proves('ORC-L3', async () => {
        const edit = { path: 'BEGUN.md', content: 'Begun.\n' };
        await using upstream = await Upstream.start((response) => {
          const call = { type: 'tool_use', id: 'toolu_1', name: 'edit', input: edit };
          streamOf(response, [call], { input: 10, output: 5_900 });
        });
        const provider = { name: 'anthropic' as const, apiKey: 'sk-ant-test-0123456789', url: upstream.url };
        await using execution = await TestExecution.start(agentFile, undefined, provider);
        const { instance } = execution;
        // One such reply of the default model costs 0.059 dollars.
        await instance.writePolicy({ repositories: [`${instance.directory}/*`], [limit]: 60_000 });
        // What a tenant has spent is forgotten at the end of the day.
        await until('the day lasts for two minutes', () => DAY_MS - (Date.now() % DAY_MS) > 120_000, 130_000);

        const first = await execution.spawn('Begin.', { taskId: 'task-one' });
        const spent = { state: 'failed', error: { code, sentence: faultSentence(code) } };
        expect(await execution.agentIn(first, 'failed')).toMatchObject({ ...spent, usage: { costMicroUsd: 59_020 } });
        await execution.restart(false);
        const second = await execution.spawn('Go on.', { taskId: secondTask });
        expect(await execution.agentIn(second, 'failed')).toMatchObject({ ...spent, usage: { requests: 0 } });
        expect(upstream.requests).toHaveLength(1);
      })(),
  );
});
