import { isGone } from '@capstan/sandbox';
import { proves } from '../../../../../test/support/proves.js';
import { until } from '../../../../../test/support/until.js';
import { dockerOfTests } from '../../../test/docker-of-tests.js';
import {
  atWork,
  isClean,
  loseRegister,
  orphansContract,
  savedWork,
  TEST_AGENT,
} from '../../../test/contract/orphans.contract.js';
import { TestExecution } from '../../../test/test-execution.js';

jest.setTimeout(400_000);

describe('in Docker', () => {
  const sandbox = dockerOfTests();
  orphansContract(sandbox);

  describe('an orchestrator whose Docker is away when it starts', () => {
    let execution: TestExecution;
    beforeAll(async () => {
      execution = await TestExecution.start(TEST_AGENT, undefined, undefined, sandbox.docker());
    });
    afterAll(() => execution[Symbol.asyncDispose]());

    it(
      'starts and says so; what was left is ended and saved once Docker is back, though nobody else remembers it',
      proves(['ORC-118', 'ORC-111'], async () => {
        const { id, handle } = await atWork(execution);
        await execution.restart(false, async () => {
          await loseRegister(execution, handle);
          await sandbox.daemon().crash();
        });
        const { api } = execution.orchestrator;
        expect([api.hasOrphans(), isGone(handle)]).toEqual([true, false]);
        await sandbox.daemon().restart();
        await until('Docker is heard', () => !api.hasOrphans(), 120_000);
        await isClean(execution, id);
        expect(isGone(handle)).toBe(true);
        expect(await savedWork(execution, id)).toBe('half of it');
        await sandbox.nothingIsLeft();
      }),
    );
  });
});
