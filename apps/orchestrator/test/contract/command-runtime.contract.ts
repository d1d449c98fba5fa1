import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { bundle } from '../../../../test/support/bundle.js';
import { type AgentPlace, commandOf, livingIn, placeOf } from '../../../../test/support/host-processes.js';
import { streamOf } from '../../../../test/support/model-stream.js';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { sandboxesOf, TestExecution } from '../test-execution.js';
import type { TestSandbox } from '../test-sandbox.js';

const PLAYBOOKS = join(__dirname, '../playbooks');
const CLAUDE_CODE = {
  kind: 'command',
  directory: dirname(require.resolve('@anthropic-ai/claude-code/package.json')),
  run: ['/opt/capstan/node', '/opt/program/cli.js', '--print', '--dangerously-skip-permissions'],
  environment: { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1' },
};
/** Writes what looks like a key. */
const LEAK =
  'echo "at work"; printf "export const port = 7400;\\nconst key = \\"sk-%s-api03-%s\\";\\n" ant "$(head -c 60 /dev/zero | tr "\\0" k)" >config.ts';
/** Takes it out where it is told that it stands there. */
const LEAK_ONCE = `cat >TOLD.md; if grep -q "sent back" TOLD.md; then sed -i 2d config.ts; else ${LEAK}; fi`;

/** What every sandbox owes to programs of the owner's. */
export function commandRuntimeContract(sandbox: TestSandbox): void {
  describe('an agent that is a program of the owner’s', () => {
    const held = new AsyncDisposableStack();
    const directory = mkdtempSync(join(tmpdir(), 'capstan-command-'));
    held.defer(() => rmSync(directory, { recursive: true, force: true }));
    let agentFile: string;
    let execution: TestExecution;

    beforeAll(async () => {
      agentFile = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
      execution = held.use(await TestExecution.start(agentFile, PLAYBOOKS, undefined, sandbox.docker()));
      const scripts = join(directory, 'scripts');
      mkdirSync(scripts, { mode: 0o700 });
      writeFileSync(join(scripts, 'told.sh'), 'cat >TOLD.md; env | sort >ENV.txt; echo "Told: $1"', { mode: 0o600 });
      await allow(execution, {
        'claude-code': CLAUDE_CODE,
        told: { ...shell('. /opt/program/told.sh', 'an argument'), directory: scripts },
        failing: shell('echo begun >BEGUN.md; echo "no luck" >&2; exit 3'),
        mending: { ...shell(LEAK_ONCE), mends: 1 },
        stubborn: { ...shell(LEAK), mends: 1 },
        missing: { kind: 'command', run: ['/opt/program/nowhere'] },
        unreadable: { ...shell('true'), directory: join(directory, 'nowhere') },
      });
    });
    afterAll(() => held.disposeAsync());

    const shell = (script: string, ...rest: string[]) => ({
      kind: 'command',
      run: ['/bin/sh', '-c', script, 'sh', ...rest],
    });
    const allow = ({ instance }: TestExecution, programs: Record<string, unknown>) =>
      instance.writePolicy({
        repositories: [`${instance.directory}/*`],
        concurrency: 2,
        programs,
        sandboxes: sandboxesOf(sandbox.docker()),
      });
    /** Where its processes are; to be asked before it has ended. */
    const placed = (id: string): Promise<AgentPlace> =>
      until('it is registered', () => placeOf({ dir: execution.instance.directory }, id), 120_000);
    const fileOf = (branch: string, path: string): string => git(execution.remote, 'show', `${branch}:${path}`);

    it(
      'is Claude Code, the real one: its work is taken without a submit call, its tokens are metered, and nothing of it stays',
      proves('ORC-L4', async () => {
        const id = await execution.spawn('Keep a log.', {
          runtime: 'claude-code',
          options: { playbook: 'claude-code' },
        });
        const place = await placed(id);
        const agent = await execution.agentIn(id, 'completed', 'failed');
        expect([agent.error, (await execution.textOf(id)).slice(-500)]).toEqual([null, expect.any(String)]);
        const { branch = '', files, commit = '' } = agent.harvest ?? {};
        expect(files).toEqual(['HARBOR.md']);
        expect(fileOf(branch, 'HARBOR.md')).toBe('Calm.');
        expect(git(execution.remote, 'log', '-1', '--format=%s', commit)).toBe('Keep a log of the harbor');
        expect(agent.usage.requests).toBeGreaterThanOrEqual(2);
        expect(agent.usage.inputTokens).toBeGreaterThan(1000);
        expect(livingIn(place)).toEqual([]);
        await execution.isClean(sandbox);
      }),
    );

    it(
      'is killed whole, whatever it has started',
      proves('ORC-L4', async () => {
        const order = { runtime: 'claude-code', options: { playbook: 'claude-code-endless' } };
        const id = await execution.spawn('Wait.', order);
        const place = await placed(id);
        const begun = (): boolean => livingIn(place).filter((pid) => commandOf(pid).includes('48613')).length === 2;
        await until('it has started what never ends', begun, 120_000);
        await execution.orchestrator.api.killswitch.kill(id, 'test');
        await execution.agentIn(id, 'killed');
        expect(livingIn(place)).toEqual([]);
        await execution.isClean(sandbox);
      }),
    );

    it(
      'is metered to the millionth of a dollar where its model is paid for, with the key outside',
      proves(['ORC-L4', 'ORC-L3'], async () => {
        const KEY = 'sk-ant-test-0123456789-never-inside';
        await using upstream = await Upstream.start((response, { body }) => {
          const isFirst = !(body['messages'] as { role: string }[]).some(({ role }) => role === 'assistant');
          const input = { command: 'env >SEEN.txt', description: 'Look' };
          const call = { type: 'tool_use', id: 'toolu_1', name: 'Bash', input };
          streamOf(response, isFirst ? [call] : [{ type: 'text', text: 'Look around' }], { input: 1000, output: 100 });
        });
        await using paid = await TestExecution.start(
          agentFile,
          undefined,
          {
            name: 'anthropic',
            apiKey: KEY,
            url: upstream.url,
          },
          sandbox.docker(),
        );
        const model = { ...CLAUDE_CODE.environment, ANTHROPIC_MODEL: 'claude-opus-4-6' };
        await allow(paid, { 'claude-code': { ...CLAUDE_CODE, environment: model } });
        const id = await paid.spawn('Look around.', { runtime: 'claude-code' });
        const agent = await paid.agentIn(id, 'completed');
        const mine = upstream.requests.filter(({ body }) => body['model'] === 'claude-opus-4-6');
        expect(mine.length).toBe(upstream.requests.length);
        expect(agent.usage).toMatchObject({
          requests: mine.length,
          costMicroUsd: mine.length * (1000 * 5 + 100 * 25),
        });
        expect(upstream.requests.every(({ headers }) => headers['x-api-key'] === KEY)).toBe(true);
        const seen = git(paid.remote, 'show', `${agent.harvest?.branch ?? ''}:SEEN.txt`);
        expect(seen).toContain('ANTHROPIC_BASE_URL=http://127.0.0.1:');
        expect(seen).not.toContain(KEY);
      }),
    );

    it(
      'runs what the owner has written, and is told the task on its input alone',
      proves('ORC-L4', async () => {
        const id = await execution.spawn('$(touch HACKED); --version', { runtime: 'told' });
        const agent = await execution.agentIn(id, 'completed');
        const branch = agent.harvest?.branch ?? '';
        expect(agent.harvest?.files).toEqual(['ENV.txt', 'TOLD.md']);
        expect(fileOf(branch, 'TOLD.md')).toContain('$(touch HACKED); --version');
        expect(fileOf(branch, 'ENV.txt')).toMatch(/^ANTHROPIC_BASE_URL=http:\/\/127\.0\.0\.1:\d+$/m);
        expect(git(execution.remote, 'log', '-1', '--format=%s', branch)).toBe('Told: an argument');
      }),
    );

    it(
      'is told why its work was sent back, works again on what it has left, and is taken',
      proves(['ORC-L4', 'ORC-120'], async () => {
        const id = await execution.spawn('Add a configuration.', { runtime: 'mending' });
        const agent = await execution.agentIn(id, 'completed');
        const branch = agent.harvest?.branch ?? '';
        expect(fileOf(branch, 'config.ts')).toBe('export const port = 7400;');
        const told = fileOf(branch, 'TOLD.md');
        expect(told).toContain('Add a configuration.');
        expect(told).toMatch(/sent back: .*config\.ts line 2 \(anthropic-key\)/);
        expect(git(execution.remote, 'log', '--all', '-S', 'kkkkkkkk', '--format=%H')).toBe('');
      }),
    );

    it(
      'has failed for the reason of the last answer where it mends nothing, after as many attempts as its owner allows',
      proves(['ORC-L4', 'ORC-120'], async () => {
        const id = await execution.spawn('Add a configuration.', { runtime: 'stubborn' });
        const agent = await execution.agentIn(id, 'failed');
        expect(agent.error).toEqual({
          code: 'secret-found',
          sentence: expect.stringContaining('config.ts line 2 (anthropic-key)') as string,
        });
        expect((await execution.textOf(id)).match(/^at work$/gm)).toHaveLength(2);
        await execution.isClean(sandbox);
      }),
    );

    it.each([
      ['failing', 'agent-crashed', 'no luck'],
      ['missing', 'agent-crashed', 'ENOENT'],
      ['unnamed', 'policy-runtime', ''],
      ['unreadable', 'internal', 'The files of the program unreadable cannot be read.'],
    ])('ends as it must where it is %s', async (runtime, code, said) => {
      const id = await execution.spawn('Try.', { runtime });
      const agent = await execution.agentIn(id, 'failed');
      expect(agent.error?.code).toBe(code);
      expect(await execution.textOf(id)).toContain(said);
    });
  });
}
