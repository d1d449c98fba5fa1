import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '@capstan/protocol';
import { bundle } from '../../../../test/support/bundle.js';
import { type AgentPlace, commandOf, livingIn, placeOf } from '../../../../test/support/host-processes.js';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { answerClaudeAgent, CLAUDE_AGENT, ENDLESS, provideClaudeAgent } from '../claude-agent-acp.js';
import { sandboxesOf, TestExecution } from '../test-execution.js';
import type { TestSandbox } from '../test-sandbox.js';

const KEY = 'sk-ant-test-0123456789-never-inside';

/** What every sandbox owes to agents that speak the protocol. */
export function acpRuntimeContract(sandbox: TestSandbox): void {
  describe('an agent that speaks the Agent Client Protocol', () => {
    const held = new AsyncDisposableStack();
    const directory = mkdtempSync(join(tmpdir(), 'capstan-acp-'));
    held.defer(() => rmSync(directory, { recursive: true, force: true }));
    let upstream: Upstream;
    let execution: TestExecution;

    beforeAll(async () => {
      const agent = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
      upstream = held.use(await Upstream.start(answerClaudeAgent));
      const provider = { name: 'anthropic' as const, apiKey: KEY, url: upstream.url };
      execution = held.use(await TestExecution.start(agent, undefined, provider, sandbox.docker()));
      const [claude, own] = [join(directory, 'claude'), join(directory, 'own')];
      for (const room of [claude, own]) mkdirSync(room, { mode: 0o700 });
      await provideClaudeAgent(claude);
      await bundle('apps/orchestrator/test/acp-agent.mjs', join(own, 'writing.mjs'));
      const writing = { kind: 'acp', directory: own, run: ['/opt/capstan/node', '/opt/program/writing.mjs'] };
      await execution.instance.writePolicy({
        repositories: [`${execution.instance.directory}/*`],
        concurrency: 2,
        sandboxes: sandboxesOf(sandbox.docker()),
        programs: {
          'claude-acp': { ...CLAUDE_AGENT, directory: claude, allow: ['edit', 'execute'] },
          'claude-acp-untrusted': { ...CLAUDE_AGENT, directory: claude, allow: ['read'] },
          writing: { ...writing, allow: ['edit'] },
          'writing-untrusted': writing,
          mute: { kind: 'acp', run: ['/bin/true'] },
        },
      });
    });
    afterAll(() => held.disposeAsync());

    const bare = (): string => {
      const { repositories } = execution.settings.paths;
      return join(repositories, readdirSync(repositories).find((name) => name.endsWith('.git')) ?? '');
    };

    it(
      'is the one for Claude Code, as it is published: it asks, is allowed, edits; its work is committed, its tokens are paid for',
      proves(['ORC-L4', 'ORC-L3'], async () => {
        const id = await execution.spawn('Rename the example.', { runtime: 'claude-acp' });
        const agent = await execution.agentIn(id, 'completed', 'failed');
        const log = await execution.textOf(id);
        expect([agent.error, log.slice(-500)]).toEqual([null, expect.any(String)]);
        expect(log).toMatch(/^read: /m);
        expect(log).toMatch(/^Permission to edit “.*README\.md.*”: allowed by the owner's policy\.$/m);
        const { branch = '', files } = agent.harvest ?? {};
        expect(files).toEqual(['README.md']);
        expect(git(execution.remote, 'show', `${branch}:README.md`)).toBe('# Harbor');
        expect(git(execution.remote, 'log', '-1', '--format=%s', branch)).toBe('Rename it to Harbor');
        const { requests, inputTokens, costMicroUsd } = agent.usage;
        expect(requests).toBeGreaterThanOrEqual(3);
        expect({ inputTokens, costMicroUsd }).toEqual({
          inputTokens: requests * 1000,
          costMicroUsd: requests * (1000 * 5 + 100 * 25),
        });
        expect(upstream.requests.every(({ headers }) => headers['x-api-key'] === KEY)).toBe(true);
      }),
    );

    it(
      'goes by a refusal of the owner’s policy: it edits nothing',
      proves('ORC-L4', async () => {
        const id = await execution.spawn('Rename the example.', { runtime: 'claude-acp-untrusted' });
        expect((await execution.agentIn(id, 'failed')).error?.code).toBe('agent-no-change');
        const log = await execution.textOf(id);
        expect(log).toMatch(/^Permission to edit “.*README\.md.*”: refused by the owner's policy\.$/m);
      }),
    );

    it(
      'is killed whole, whatever it has started',
      proves(['ORC-L4', 'ORC-117'], async () => {
        const id = await execution.spawn('Lie at anchor.', { runtime: 'claude-acp' });
        const place = await until(
          'its endless command runs',
          async () => {
            const found = await placeOf({ dir: execution.instance.directory }, id);
            return found !== undefined && isAtWork(found) ? found : undefined;
          },
          120_000,
        );
        await execution.orchestrator.api.killswitch.kill(id, 'test');
        await execution.agentIn(id, 'killed');
        expect(livingIn(place)).toEqual([]);
        await execution.isClean(sandbox);
      }),
    );

    it.each([
      ['writing', 'once'],
      ['writing-untrusted', 'no'],
    ])('does its work in its sandbox, and is never given leave for always: %s', (runtime, permission) =>
      proves('ORC-L4', async () => {
        const id = await execution.spawn('Keep a log of the harbor.', { runtime });
        const agent = await execution.agentIn(id, 'completed');
        const branch = agent.harvest?.branch ?? '';
        expect(agent.harvest?.files).toEqual(['LOG.md']);
        const log = git(execution.remote, 'show', `${branch}:LOG.md`);
        expect(log).toMatch(new RegExp(`^${permission}\n`));
        expect(log).toContain('Keep a log of the harbor.');
        expect(git(execution.remote, 'log', '-1', '--format=%s', branch)).toBe('Keep a log');
      })(),
    );

    it(
      'gets further prompts in its session: why its work was sent back, and what the operator writes',
      proves(['ORC-L4', 'ORC-120'], async () => {
        const id = await execution.spawn('Leak, and wait.', { runtime: 'writing' });
        await until('it waits', async () => (await execution.textOf(id)).includes('I wait') || undefined, 120_000);
        const text = 'Write it in capitals.';
        await execution.orchestrator.api.messages.send(id, { messageId: newId(), text });
        git(bare(), 'update-ref', 'refs/capstan/test-go', git(bare(), 'rev-parse', 'refs/remotes/origin/main'));
        const agent = await execution.agentIn(id, 'completed');
        const log = git(execution.remote, 'show', `${agent.harvest?.branch ?? ''}:LOG.md`);
        expect(log.split('\n').slice(0, 4)).toEqual([
          'prompt 3',
          'once',
          'capitals',
          expect.stringContaining('sent back'),
        ]);
        expect(log).toContain('LOG.md line');
        expect(git(execution.remote, 'log', '--all', '-S', 'kkkkkkkk', '--format=%H')).toBe('');
      }),
    );

    it('leaves nothing', () => execution.isClean(sandbox));

    it.each([
      ['ends before its turn does', 'writing', 'Give up', 'ended with 7 before its turn did'],
      ['refuses its task', 'writing', 'Refuse', 'stopped its turn: refusal'],
      ['does not speak the protocol', 'mute', 'Speak', 'ended with 0 before its turn did'],
    ])('has failed where it %s', async (_, runtime, task, said) => {
      const id = await execution.spawn(task, { runtime });
      expect((await execution.agentIn(id, 'failed')).error?.code).toBe('agent-crashed');
      expect(await execution.textOf(id)).toContain(said);
    });
  });
}

/** The agent, its program, what that has started, and of its command both parts, one of which has left its group. */
function isAtWork(place: AgentPlace): boolean {
  const living = livingIn(place).map((pid) => commandOf(pid));
  // The last one names itself.
  const wordsOfAll = ['/opt/capstan/agent.mjs', '/opt/program/adapter.mjs', 'claude'];
  const sleeping = living.filter((command) => command.includes(ENDLESS));
  return wordsOfAll.every((word) => living.some((command) => command.includes(word))) && sleeping.length === 2;
}
