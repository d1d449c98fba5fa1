import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { TestExecution } from '../../test/test-execution.js';

jest.setTimeout(60_000);

describe('a limit that the owner demands', () => {
  let execution: TestExecution;

  beforeAll(async () => {
    execution = await TestExecution.start(join(__dirname, '../../test/test-agent.mjs'));
  });
  afterAll(async () => {
    await execution[Symbol.asyncDispose]();
  });

  it(
    'and that no sandbox here enforces keeps every agent from starting, and says which it is',
    proves('ORC-106', async () => {
      const repositories = [`${execution.instance.directory}/*`];
      // What an agent has on the disk is watched, and no driver has a quota for it.
      await execution.instance.writePolicy({ repositories, demandLimits: ['seccomp', 'disk'] });
      await execution.restart(true);
      const id = await execution.spawn('write');
      expect(await execution.agentIn(id, 'failed')).toMatchObject({ error: { code: 'policy-limits' } });
      expect(await execution.textOf(id)).toContain('The instance cannot enforce a limit that its owner demands.');
      await execution.instance.writePolicy({ repositories, demandLimits: ['seccomp'] });
      await execution.restart(true);
      await execution.agentIn(await execution.spawn('write'), 'completed');
    }),
  );
});
