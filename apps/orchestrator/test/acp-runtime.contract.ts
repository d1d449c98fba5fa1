import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '@capstan/protocol';
import { bundle } from '../../../test/support/bundle.js';
import { proves } from '../../../test/support/proves.js';
import { git } from '../../../test/support/repository.js';
import { until } from '../../../test/support/until.js';
import { sandboxesOf, TestExecution } from './test-execution.js';
import type { TestSandbox } from './test-sandbox.js';

/** What every sandbox owes to agents that speak the protocol. */
export function acpRuntimeContract(sandbox: TestSandbox): void {
  describe('an agent that speaks the Agent Client Protocol', () => {
    const directory = mkdtempSync(join(tmpdir(), 'capstan-acp-'));
    let execution: TestExecution;

    beforeAll(async () => {
      const agent = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
      execution = await TestExecution.start(agent, undefined, undefined, sandbox.docker());
      const programs = join(directory, 'programs');
      mkdirSync(programs, { mode: 0o700 });
      // The example of the protocol's own package, as it is published.
      await bundle('node_modules/@agentclientprotocol/sdk/dist/examples/agent.js', join(programs, 'example.mjs'));
      await bundle('apps/orchestrator/test/acp-agent.mjs', join(programs, 'writing.mjs'));
      const acp = (file: string, allow: string[]) => ({
        kind: 'acp',
        directory: programs,
        run: ['/opt/capstan/node', `/opt/program/${file}.mjs`],
        allow,
      });
      await execution.instance.writePolicy({
        repositories: [`${execution.instance.directory}/*`],
        concurrency: 2,
        sandboxes: sandboxesOf(sandbox.docker()),
        programs: {
          'example-trusted': acp('example', ['edit']),
          'example-untrusted': acp('example', ['read']),
          writing: acp('writing', ['edit']),
          'writing-untrusted': acp('writing', []),
          mute: { kind: 'acp', run: ['/bin/true'] },
        },
      });
    });
    afterAll(async () => {
      await execution[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    });

    const bare = (): string => {
      const { repositories } = execution.settings.paths;
      return join(repositories, readdirSync(repositories).find((name) => name.endsWith('.git')) ?? '');
    };

    it.each([
      ['example-trusted', 'allowed', "I've successfully updated the configuration"],
      ['example-untrusted', 'refused', "I'll skip the configuration update"],
    ])('asks, is answered by the owner’s policy, and goes by it: %s', (runtime, answer, said) =>
      proves('ORC-L4', async () => {
        const id = await execution.spawn('Modernise the configuration.', { runtime });
        const agent = await execution.agentIn(id, 'failed');
        // The example only says that it does something.
        expect(agent.error?.code).toBe('agent-no-change');
        const log = await execution.textOf(id);
        expect(log).toContain(
          `Permission to edit “Modifying critical configuration file”: ${answer} by the owner's policy.`,
        );
        expect(log).toContain(said);
        expect(log).toContain('read: Reading project files');
      })(),
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

    it('leaves nothing', async () => {
      await until(
        'their directories are gone',
        () => readdirSync(execution.settings.paths.agents).length === 0,
        120_000,
      );
      await sandbox.nothingIsLeft();
    });

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
