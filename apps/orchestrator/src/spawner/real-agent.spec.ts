import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { git } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { TestExecution } from '../../test/test-execution.js';

const ROOT = join(__dirname, '../../../..');
jest.setTimeout(60_000);

describe('an agent on the real SDK, with the scripted model', () => {
  let directory: string;
  let execution: TestExecution;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-agent-'));
    const bundle = join(directory, 'agent.mjs');
    const requires = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";
    const options = ['--bundle', '--platform=node', '--format=esm', '--target=node24', '--log-level=warning'];
    const files = [join(ROOT, 'apps/agent/src/main.ts'), `--outfile=${bundle}`, `--banner:js=${requires}`];
    execFileSync(join(ROOT, 'node_modules/esbuild/bin/esbuild'), [...files, ...options], {
      cwd: join(ROOT, 'apps/agent'),
    });
    execution = await TestExecution.start(bundle);
  });
  afterAll(async () => {
    await execution[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  it(
    'maps the repository: spawned by request, metered by the gateway, committed and pushed',
    proves(['ORC-105', 'ORC-118'], async () => {
      const id = await execution.spawn('Map this repository in docs/REPOSITORY-MAP.md.');
      const agent = await execution.agentIn(id, 'completed');
      expect(agent.harvest).toMatchObject({ files: ['docs/REPOSITORY-MAP.md'], pushed: true });
      expect(agent.usage.requests).toBeGreaterThan(1);
      expect(agent.usage.inputTokens).toBeGreaterThan(0);
      const map = git(execution.remote, 'show', `${agent.harvest?.branch ?? ''}:docs/REPOSITORY-MAP.md`);
      expect(map).toContain(agent.harvest?.baseCommit);
    }),
  );

  it('ends one that would never end, and keeps what it was metered', async () => {
    const id = await execution.spawn('Run.', { options: { playbook: 'long-run', timeoutMs: 3000n } });
    const agent = await execution.agentIn(id, 'failed');
    expect(agent.error?.code).toBe('agent-timeout');
    expect(agent.usage.requests).toBeGreaterThan(0);
  });
});
