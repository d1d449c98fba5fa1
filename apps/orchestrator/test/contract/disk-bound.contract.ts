import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import { TestExecution } from '../test-execution.js';
import type { TestSandbox } from '../test-sandbox.js';

const AGENT = join(__dirname, '../test-agent.mjs');

/** What every sandbox owes to the room that its agents may fill. */
export function diskBoundContract(sandbox: TestSandbox): void {
  describe('an agent that fills the disk', () => {
    let execution: TestExecution;
    beforeAll(async () => {
      execution = await TestExecution.start(AGENT, undefined, undefined, sandbox.docker());
      const { agentLimits } = execution.settings;
      await execution.restart(true, undefined, { agentLimits: { ...agentLimits, diskBytes: 8 << 20 } });
    });
    afterAll(() => execution[Symbol.asyncDispose]());

    it(
      'is ended and told why, its work is saved, and its room is free again',
      proves('ORC-106', async () => {
        const id = await execution.spawn('fill');
        const { error } = await execution.agentIn(id, 'failed');
        expect(error).toMatchObject({ code: 'agent-disk' });
        expect(error?.sentence).toMatch(/^The agent filled more of the disk than it may: [\d.]+ MiB in \d+ entries/);
        const { paths } = execution.settings;
        await execution.isClean(sandbox);
        expect(await execution.textOf(id)).toContain(`Unfinished work was saved to refs/capstan/salvage/${id}`);
        const [kept = ''] = (await readdir(paths.repositories)).filter((name) => name.endsWith('.salvage'));
        expect(git(join(paths.repositories, kept), 'show', `refs/capstan/salvage/${id}:half.md`)).toBe('half of it');
      }),
    );
  });
}
