import { copyFileSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { bundle } from '../../../test/support/bundle.js';
import { streamOf } from '../../../test/support/model-stream.js';
import type { UpstreamRequest } from '../../../test/support/model-upstream.js';

const PACKAGES = 'node_modules';
/** An argument of what never ends. */
export const ENDLESS = '48617';

/** The agent that speaks the Agent Client Protocol for Claude Code, as an owner would name it; it asks for leave. */
export const CLAUDE_AGENT = {
  kind: 'acp',
  run: ['/opt/capstan/node', '/opt/program/adapter.mjs'],
  environment: {
    ANTHROPIC_MODEL: 'claude-opus-4-6',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_AUTOUPDATER: '1',
  },
};

/** Puts the published programs into `directory`: the adapter as one file, and Claude Code, which it looks for beside itself. */
export async function provideClaudeAgent(directory: string): Promise<void> {
  const adapter = `${PACKAGES}/@agentclientprotocol/claude-agent-acp/dist/index.js`;
  await bundle(adapter, join(directory, 'adapter.mjs'), ['@anthropic-ai/claude-agent-sdk/embed']);
  const code = join(__dirname, '../../..', PACKAGES, '@anthropic-ai/claude-agent-sdk/cli.js');
  copyFileSync(code, join(directory, 'cli.js'));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
}

const CALLS = {
  edit: [
    { name: 'Read', input: { file_path: '/workspace/README.md' } },
    {
      name: 'Edit',
      input: { file_path: '/workspace/README.md', old_string: '# Example', new_string: '# Harbor' },
    },
  ],
  wait: [{ name: 'Bash', input: { command: `(setsid sleep ${ENDLESS} &); sleep ${ENDLESS}`, description: 'Wait' } }],
};

/** Answers as a model: has README.md read and edited, or something begun that never ends where the task speaks of an anchor. */
export function answerClaudeAgent(response: ServerResponse, { body }: UpstreamRequest): void {
  const messages = body['messages'] as { role: string }[];
  const replies = messages.filter(({ role }) => role === 'assistant').length;
  const calls = JSON.stringify(messages).includes('Lie at anchor') ? CALLS.wait : CALLS.edit;
  const call = calls[replies];
  const said = { type: 'text', text: 'Rename it to Harbor' };
  const content = call === undefined ? said : { type: 'tool_use', id: `toolu_${String(replies)}`, ...call };
  streamOf(response, [content], { input: 1000, output: 100 });
}
