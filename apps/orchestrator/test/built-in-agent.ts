import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentId } from '@capstan/protocol';
import { bundle } from '../../../test/support/bundle.js';
import { git } from '../../../test/support/repository.js';
import { until } from '../../../test/support/until.js';
import { TestExecution } from './test-execution.js';
import type { TestSandbox } from './test-sandbox.js';

/** Ref for which agents wait that are to go on when the test says so. */
const GO = 'refs/capstan/test-go';

/** An orchestrator for the calling suite whose agents are the built-in one, by the tests' own playbooks. */
export interface BuiltInAgent {
  readonly execution: TestExecution;
  readonly sandbox: TestSandbox;
  /** The instance's own repository of the remote. */
  bare(): string;
  /** Waits until the agent has said that it is ready. */
  ready(id: AgentId): Promise<unknown>;
  /** Lets go on who waits for it. */
  letGo(): void;
  /** Who waits from now on waits for the next. */
  holdBack(): void;
}

/** Starts it before the tests of the calling suite, and ends it after them. */
export function builtInAgent(sandbox: TestSandbox): BuiltInAgent {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-built-in-'));
  let started: TestExecution | undefined;
  beforeAll(async () => {
    const agent = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
    started = await TestExecution.start(agent, join(__dirname, 'playbooks'), undefined, sandbox.docker());
  });
  afterAll(async () => {
    await started?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });
  const running = (): TestExecution => {
    if (started === undefined) throw new Error('the orchestrator has not started');
    return started;
  };
  const bare = (): string => {
    const { repositories } = running().settings.paths;
    return join(repositories, readdirSync(repositories).find((name) => name.endsWith('.git')) ?? '');
  };
  return {
    get execution() {
      return running();
    },
    sandbox,
    bare,
    ready: (id) =>
      until(
        'it is ready',
        async () => (await running().textOf(id)).split('\n').includes('ready') || undefined,
        120_000,
      ),
    letGo: () => void git(bare(), 'update-ref', GO, git(bare(), 'rev-parse', 'refs/remotes/origin/main')),
    holdBack: () => void git(bare(), 'update-ref', '-d', GO),
  };
}
