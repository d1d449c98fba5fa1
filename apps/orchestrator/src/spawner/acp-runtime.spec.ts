import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle } from '../../../../test/support/bundle.js';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import { TestExecution } from '../../test/test-execution.js';

jest.setTimeout(120_000);

describe('an agent that speaks the Agent Client Protocol', () => {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-acp-'));
  let execution: TestExecution;

  beforeAll(async () => {
    const agent = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
    execution = await TestExecution.start(agent);
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
