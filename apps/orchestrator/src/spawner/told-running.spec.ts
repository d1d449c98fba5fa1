import { join } from 'node:path';
import { git } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { ValkeyRelay } from '../../../../test/support/valkey-relay.js';
import { TestExecution } from '../../test/test-execution.js';

jest.setTimeout(300_000);

describe('an agent of which Valkey is to be told that it runs', () => {
  const held = new AsyncDisposableStack();
  let execution: TestExecution;
  let relay: ValkeyRelay;

  beforeAll(async () => {
    // It outlives the orchestrator, which ends over it.
    const wire = held.use(new AsyncDisposableStack());
    execution = held.use(await TestExecution.start(join(__dirname, '..', '..', 'test', 'test-agent.mjs')));
    relay = wire.use(await ValkeyRelay.start(execution.instance.valkey.url));
    await execution.restart(true, undefined, { valkeyUrl: relay.url });
  });
  afterAll(() => held.disposeAsync());

  const isRunning = (args: readonly string[]): boolean => args.includes('running');
  const pushed = (branch = ''): string => git(execution.remote, 'rev-parse', branch);

  it(
    'is not killed where the answer to that is lost',
    proves('ORC-109', async () => {
      relay.loseReply(isRunning);
      const { harvest } = await execution.agentIn(await execution.spawn('write'), 'completed');
      expect([relay.lost, pushed(harvest?.branch)]).toEqual([1, harvest?.commit]);
    }),
  );

  it(
    'completes where Valkey does not take it at first: what is pushed is never reported lost',
    proves('ORC-109', async () => {
      const before = relay.refused;
      relay.refuse(isRunning);
      const id = await execution.spawn('write');
      await until('it has submitted', async () => (await execution.textOf(id)).includes('Submitted') || undefined);
      await until('it was refused again', () => relay.refused >= before + 2 || undefined);
      expect(await execution.store.find(id)).toMatchObject({ state: 'spawning', startedAt: null });
      relay.relent();
      const { harvest, startedAt } = await execution.agentIn(id, 'completed');
      expect([startedAt, pushed(harvest?.branch)]).toEqual([expect.any(String), harvest?.commit]);
    }),
  );
});
