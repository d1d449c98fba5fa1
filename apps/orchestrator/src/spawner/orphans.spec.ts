import { join } from 'node:path';
import { atWork, isClean, orphansContract, TEST_AGENT } from '../../test/contract/orphans.contract.js';
import { TestExecution } from '../../test/test-execution.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  orphansContract(BUBBLEWRAP);
});

describe('an orchestrator whose Docker is not there', () => {
  let execution: TestExecution;
  beforeAll(async () => (execution = await TestExecution.start(TEST_AGENT)));
  afterAll(() => execution[Symbol.asyncDispose]());

  // Once it exited instead, again and again, and bubblewrap's agents were not served either.
  it('starts, ends what bubblewrap has left, says so, and serves agents of bubblewrap', async () => {
    const { id: left } = await atWork(execution);
    const docker = { socketPath: join(execution.instance.directory, 'no-docker.sock') };
    await execution.restart(false, undefined, { docker });
    expect(execution.orchestrator.api.hasOrphans()).toBe(true);
    expect((await execution.agentIn(left, 'failed')).error?.code).toBe('orchestrator-lost');
    const next = await execution.spawn('stubborn');
    await execution.agentIn(next, 'running');
    await execution.orchestrator.api.killswitch.kill(next, '');
    await execution.agentIn(next, 'killed');
    await execution.restart(true);
    expect(execution.orchestrator.api.hasOrphans()).toBe(false);
    await isClean(execution, left);
  });
});
