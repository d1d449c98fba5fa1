import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/until.js';
import { TestHub } from '../../test/test-hub.js';
import { type Ordered, TestSpoke } from '../../test/test-spoke.js';
import type { CommandView } from '../commands/command-view.js';
import { KillEpochs, type OrderedEpoch } from './kill-epochs.js';
import { Killswitch } from './killswitch.js';
import { Stopping } from './stopping.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

const INSTANCE = { scope: 'instance', scopeId: '' } as const;

let postgres: TestPostgres;
let hub: TestHub;
let harbor: TestSpoke;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

beforeEach(async () => {
  hub = await TestHub.start(await postgres.freshDatabase());
  harbor = await TestSpoke.connected(hub, 'harbor');
});
afterEach(async () => {
  await harbor.disconnect();
  await hub[Symbol.asyncDispose]();
});

const epochs = (): KillEpochs => hub.app.get(KillEpochs, { strict: false });
const isStopped = (): boolean => hub.app.get(Stopping, { strict: false }).has('harbor');

const killAll = () =>
  hub.request<{ instances: { commandId: string }[] }>(
    'POST',
    'agents/kill-all',
    JSON.stringify({ scope: 'instance', instance: 'harbor', waitMs: 0 }),
    { authorization: `Bearer ${hub.token}`, accept: 'application/json' },
  );

async function restarted(): Promise<void> {
  await hub.stop();
  hub = await hub.successor();
}

const idsOf = (orders: readonly Ordered[]): string[] => {
  const own = orders.filter(({ command }) => command.body.case === 'killAll');
  return [...new Set(own.map(({ command }) => command.header?.id ?? ''))];
};
const told = (): Promise<Ordered> =>
  until('it was told', () => harbor.ordered.find(({ command }) => command.body.case === 'killAll'));

it.each([
  ['', false],
  [', in the journal only', true],
])('is given by the next life of a hub that was killed after it had disarmed the scope%s', (_, isAway) =>
  proves('FED-10', async () => {
    await harbor.disconnect();
    if (isAway) await postgres.crash();
    const row = { ...INSTANCE, epoch: 1n, armed: false, orderedBy: 'bob', connection: '', changedAt: new Date() };
    const audit = [{ kind: 'killswitch.disarmed', subject: 'harbor', atMs: Date.now(), detail: { by: 'bob' } }];
    await epochs().set([{ ...row, instance: 'harbor' }], audit);
    if (isAway) {
      await hub.stop();
      await postgres.restart();
    }
    await restarted();
    expect(isStopped()).toBe(true);
    await harbor.connect(harbor.key, undefined, hub);
    const order = await told();
    expect(order.command).toMatchObject({ header: { onBehalfOf: 'bob' }, body: { value: { epoch: 1n } } });
    await harbor.offer(harbor.receipt(order, harbor.killedAll(order, [])), 'kill');
    await until('it has proven that it obeys', () => !isStopped());
    await harbor.disconnect();
    await restarted();
    expect(isStopped()).toBe(false);
    expect(idsOf(harbor.ordered)).toHaveLength(1);
  })(),
);

it('is over where its number was refused and the scope was armed again since, whatever the number of that', async () => {
  const { body } = await killAll();
  const order = await told();
  await harbor.offer(harbor.receipt(order, { case: 'refused', value: { code: 'kill-epoch' } }), 'kill');
  const row = epochs().of('harbor', INSTANCE) as OrderedEpoch;
  await epochs().set([{ ...row, epoch: 0n, armed: true }], []);
  await until('it is over', () => {
    epochs().hear('harbor', []);
    return !isStopped();
  });
  const view = (await hub.get<CommandView>(`commands/${body.instances[0]?.commandId ?? ''}`)).body;
  expect(view).toMatchObject({ settledAt: expect.any(String) as string });
});

it('of a connection that has ended meanwhile keeps nothing else from being told', async () => {
  await killAll();
  const { body } = await hub.get<{ id: string; instanceId: string }[]>('connections');
  await hub.post(`connections/${body.find(({ instanceId }) => instanceId === 'harbor')?.id ?? ''}/disconnect`);
  const row = epochs().of('harbor', INSTANCE) as OrderedEpoch;
  await epochs().set([{ ...row, connection: 'a former one' }], []);
  const killswitch = hub.app.get(Killswitch, { strict: false });
  expect(() => {
    killswitch.catchUp('harbor');
  }).not.toThrow();
});
