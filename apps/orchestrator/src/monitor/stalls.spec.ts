import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestExecution } from '../../test/test-execution.js';
import type { StallNotice } from './vitals.js';

jest.setTimeout(120_000);

const AGENT = join(__dirname, '..', '..', 'test', 'test-agent.mjs');

describe('the monitor', () => {
  let execution: TestExecution;
  beforeAll(async () => (execution = await TestExecution.start(AGENT)));
  afterAll(() => execution[Symbol.asyncDispose]());

  const isClean = (): Promise<unknown> =>
    until('it is clean', async () => {
      const left = [...(await execution.store.untidy()), ...(await readdir(execution.settings.paths.agents))];
      return left.length === 0 || undefined;
    });

  it(
    'says what an agent uses and that it has stalled, and does what the owner wants of it',
    proves('ORC-L5', async () => {
      const { paths } = execution.settings;
      const policy = JSON.parse(await readFile(paths.policy, 'utf8')) as object;
      await writeFile(paths.policy, JSON.stringify({ ...policy, onStall: { afterMs: 3000, action: 'notify' } }));
      const id = await execution.spawn('idle');
      await execution.agentIn(id, 'running');
      const stalls = new AbortController();
      const notices: StallNotice[] = [];
      for await (const event of execution.orchestrator.api.events.read('0', stalls.signal)) {
        if (event.kind !== 'stall') continue;
        const notice = JSON.parse(event.json) as StallNotice;
        if (notice.agentId !== id) continue;
        notices.push(notice);
        stalls.abort();
      }
      expect(notices).toEqual([
        expect.objectContaining({ stalled: true, action: 'notify', reason: expect.stringMatching(/^No line .* s/) }),
      ]);
      const seen = execution.orchestrator.api.vitals.of(id);
      expect(seen).toMatchObject({ stalled: notices[0]?.reason, processes: expect.any(Number) });
      expect(seen?.memoryBytes).toBeGreaterThan(1024 * 1024);
      expect(seen?.processes).toBeGreaterThan(1);
      expect(execution.orchestrator.api.vitals.samplesOf(id).length).toBeGreaterThan(1);
      expect((await execution.store.find(id))?.state).toBe('running');
      await writeFile(paths.policy, JSON.stringify({ ...policy, onStall: { afterMs: 3000, action: 'kill' } }));
      await execution.orchestrator.api.killswitch.kill(id, 'seen');
      const other = await execution.spawn('idle');
      const ended = await execution.agentIn(other, 'failed');
      expect(ended.error).toEqual({ code: 'agent-stalled', sentence: expect.stringContaining('no progress') });
      expect(await execution.textOf(other)).toMatch(/Stalled: No line/);
      await writeFile(paths.policy, JSON.stringify(policy));
      await isClean();
    }),
  );
});
