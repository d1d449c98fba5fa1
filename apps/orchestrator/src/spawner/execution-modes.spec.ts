import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentRole } from '@capstan/protocol';
import { bundle } from '../../../../test/support/bundle.js';
import { streamOf } from '../../../../test/support/model-stream.js';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import { TestExecution } from '../../test/test-execution.js';
import { loadSettings } from '../config/settings.js';

jest.setTimeout(300_000);

const CALLS = [
  { type: 'tool_use', id: 'toolu_1', name: 'edit', input: { path: 'MODEL.md', content: 'By the model.\n' } },
  { type: 'tool_use', id: 'toolu_2', name: 'submit', input: { summary: 'Ask the model' } },
];

describe('an instance in hybrid mode', () => {
  it(
    'asks the model for the roles that are included and not excluded, and answers the others by playbook',
    proves('ORC-L4', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'capstan-modes-'));
      try {
        const agentFile = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
        await using upstream = await Upstream.start((response, { body }) => {
          const replies = (body['messages'] as { role: string }[]).filter(({ role }) => role === 'assistant').length;
          streamOf(response, CALLS.slice(replies, replies + 1), { input: 1000, output: 100 });
        });
        const { provider, scriptedRoles } = loadSettings({
          CAPSTAN_INSTANCE_DIR: directory,
          CAPSTAN_RUNTIME_DIR: directory,
          CAPSTAN_VALKEY_URL: 'redis://127.0.0.1:1',
          ANTHROPIC_API_KEY: 'sk-ant-test-0123456789',
          CAPSTAN_ANTHROPIC_URL: upstream.url,
          CAPSTAN_EXECUTION_MODE: 'hybrid',
          CAPSTAN_CLAUDE_ROLES: 'worker,tester',
          CAPSTAN_CLAUDE_EXCLUDED_ROLES: 'tester',
        });
        await using execution = await TestExecution.start(agentFile, undefined, provider);
        await execution.restart(true, undefined, { scriptedRoles });
        const workOf = async (role: AgentRole) => {
          const id = await execution.spawn('Work.', { role });
          const { harvest, usage } = await execution.agentIn(id, 'completed');
          const title = git(execution.remote, 'log', '-1', '--format=%s', harvest?.branch ?? '');
          return { files: harvest?.files, title, isPaidFor: usage.costMicroUsd > 0 };
        };
        const mapped = {
          files: ['docs/REPOSITORY-MAP.md'],
          title: expect.stringContaining('Map') as string,
          isPaidFor: false,
        };
        expect(await workOf(AgentRole.REVIEWER)).toEqual(mapped);
        expect(await workOf(AgentRole.TESTER)).toEqual(mapped);
        expect(upstream.requests).toEqual([]);
        expect(await workOf(AgentRole.WORKER)).toEqual({
          files: ['MODEL.md'],
          title: 'Ask the model',
          isPaidFor: true,
        });
        expect(upstream.requests).toHaveLength(CALLS.length);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    }),
  );
});
