import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import type { StallNotice } from '../../src/monitor/vitals.js';
import { TestExecution } from '../test-execution.js';
import type { TestSandbox } from '../test-sandbox.js';

const AGENT = join(__dirname, '../test-agent.mjs');
/** What the agent that spins holds in memory, half of it in its processes. */
const HELD_BYTES = 64 << 20;

/** What is seen of an agent in every sandbox, and what follows where it does nothing. */
export function stallsContract(sandbox: TestSandbox): void {
  describe('the monitor', () => {
    let execution: TestExecution;
    beforeAll(async () => (execution = await TestExecution.start(AGENT, undefined, undefined, sandbox.docker())));
    afterAll(() => execution[Symbol.asyncDispose]());

    it(
      'says what an agent uses and that it has stalled, and does what the owner wants of it',
      proves('ORC-L5', async () => {
        const { paths } = execution.settings;
        const policy = JSON.parse(await readFile(paths.policy, 'utf8')) as object;
        const id = await execution.spawn('spin');
        await until('it spins', async () => (await execution.textOf(id)).includes('working') || undefined, 120_000);
        // Not before: whoever takes long to begin would stall, and go on.
        await writeFile(paths.policy, JSON.stringify({ ...policy, onStall: { afterMs: 3000, action: 'notify' } }));
        const told = (await execution.toldOf(id, 'stall')).at(-1);
        const notice = JSON.parse(told?.json ?? '') as StallNotice;
        expect(notice).toMatchObject({
          agentId: id,
          stalled: true,
          action: 'notify',
          reason: expect.stringMatching(/^No line .* s/) as string,
        });
        const { vitals } = execution.orchestrator.api;
        const seen = await until('it was seen to use its processor', () => {
          const view = vitals.of(id);
          return view !== undefined && view.cpuMs > 500 && view.cpuMilli > 50 ? view : undefined;
        });
        expect(seen).toMatchObject({ stalled: notice.reason });
        expect(seen.memoryBytes).toBeGreaterThan(HELD_BYTES);
        expect(seen.memoryBytes).toBeLessThan(execution.settings.agentLimits.memoryBytes ?? 0);
        expect(seen.processes).toBeGreaterThan(1);
        expect(vitals.samplesOf(id).length).toBeGreaterThan(1);
        expect((await execution.store.find(id))?.state).toBe('running');
        await writeFile(paths.policy, JSON.stringify({ ...policy, onStall: { afterMs: 3000, action: 'kill' } }));
        await execution.orchestrator.api.killswitch.kill(id, 'seen');
        const other = await execution.spawn('idle');
        const ended = await execution.agentIn(other, 'failed');
        expect(ended.error).toEqual({
          code: 'agent-stalled',
          sentence: expect.stringContaining('no progress') as string,
        });
        expect(await execution.textOf(other)).toMatch(/Stalled: No line/);
        await writeFile(paths.policy, JSON.stringify(policy));
        await execution.isClean(sandbox);
      }),
    );
  });
}
