import { keyRecord, KeyRing } from '@capstan/identity';
import { create, KillEpochSchema } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/until.js';
import { TestHub } from '../../test/test-hub.js';
import { type Ordered, TestSpoke } from '../../test/test-spoke.js';
import type { CommandView } from '../commands/command-view.js';
import { Outbox } from '../commands/outbox.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { HubKeys } from '../keys/hub-keys.js';
import { KillEpochs } from './kill-epochs.js';
import type { KillAllLine, KillAllTotals } from './kill-all-line.js';
import { Stopping } from './stopping.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;
let hub: TestHub;
let harbor: TestSpoke;
let quay: TestSpoke;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

beforeEach(async () => {
  hub = await TestHub.start(await postgres.freshDatabase());
  [harbor, quay] = await Promise.all([TestSpoke.connected(hub, 'harbor'), TestSpoke.connected(hub, 'quay')]);
});
afterEach(async () => {
  for (const spoke of [harbor, quay]) await spoke.disconnect();
  await hub[Symbol.asyncDispose]();
});

const killAll = (order: object) =>
  hub.request<{ instances: KillAllLine[]; totals: KillAllTotals }>('POST', 'agents/kill-all', JSON.stringify(order), {
    authorization: `Bearer ${hub.token}`,
    accept: 'application/json',
  });

function body(order: Ordered) {
  return order.command.body;
}
function epochOf(order: Ordered): bigint {
  const it = body(order);
  return it.case === 'killAll' ? it.value.epoch : -1n;
}

const viewOf = async (commandId: string): Promise<CommandView> =>
  (await hub.get<CommandView>(`commands/${commandId}`)).body;
const killAllOf = (spoke: TestSpoke): Promise<Ordered> =>
  until('it was told', () => spoke.ordered.find((each) => body(each).case === 'killAll'));

it(
  'ends for no refusal, signed or not: renewals stay off, the order stays open, and who waits still hears the proof',
  proves('FED-10', async () => {
    const stopping = hub.app.get(Stopping, { strict: false });
    const answered = killAll({ scope: 'mesh', waitMs: 30_000 });
    const [first, second] = await Promise.all([killAllOf(harbor), killAllOf(quay)]);
    await harbor.reject(first, 'audience-mismatch', false);
    await quay.offer(quay.receipt(second, { case: 'refused', value: { code: 'policy-runtime' } }), 'kill');
    for (const order of [first, second]) {
      const seen = await until('it is noted', async () => {
        const view = await viewOf(order.command.header?.id ?? '');
        return view.refusal === undefined ? undefined : view;
      });
      expect(seen).toMatchObject({ state: 'PENDING', settledAt: null });
    }
    expect(['harbor', 'quay'].map((instance) => stopping.has(instance))).toEqual([true, true]);
    hub.app.get(Outbox, { strict: false }).sweep(Date.now(), performance.now() + 61_000);
    for (const spoke of [harbor, quay]) {
      await until('it came again', () => spoke.ordered.filter((each) => body(each).case === 'killAll').length > 1);
    }
    await harbor.offer(harbor.receipt(first, harbor.killedAll(first, ['agent-1'])), 'kill');
    await quay.offer(quay.receipt(second, quay.killedAll(second, [])), 'kill');
    expect((await answered).body.totals).toMatchObject({ instances: 2, confirmed: 2, agents: { killed: 1 } });
    expect(['harbor', 'quay'].map((instance) => stopping.has(instance))).toEqual([false, false]);
    expect((await viewOf(first.command.header?.id ?? '')).refusal).toBeUndefined();
  }),
);

it('is not worn out by wrong numbers: renewals stay off, and it is ordered again', async () => {
  harbor.onOrder = (order) => {
    void harbor.offer(harbor.receipt(order, { case: 'refused', value: { code: 'kill-epoch' } }), 'kill');
  };
  await killAll({ scope: 'instance', instance: 'harbor', waitMs: 0 });
  const epochs = hub.app.get(KillEpochs, { strict: false });
  const told = [create(KillEpochSchema, { scope: 'instance', scopeId: '', epoch: 4n })];
  const ids = (): Set<string | undefined> => new Set(harbor.ordered.map(({ command }) => command.header?.id));
  const wanted = await until('it was ordered a sixth time', () => {
    epochs.hear('harbor', told);
    return ids().size > 5 ? [...ids()] : undefined;
  });
  expect(hub.app.get(Stopping, { strict: false }).has('harbor')).toBe(true);
  const old = await viewOf(wanted[0] ?? '');
  expect(old).toMatchObject({ state: 'FAILED', refusal: { code: 'kill-epoch' } });
  expect(old.refusal?.sentence).toContain(wanted[1]);
  const last = harbor.ordered.at(-1);
  if (last === undefined) throw new Error('harbor was not told');
  await harbor.offer(harbor.receipt(last, harbor.killedAll(last, [])), 'kill');
  expect(hub.app.get(Stopping, { strict: false }).has('harbor')).toBe(false);
});

it(
  'orders anew, under the hub’s present key, what an instance that was away would refuse of the former one',
  proves('FED-10', async () => {
    await harbor.disconnect();
    const kill = await hub.post<{ commandId: string }>('agents/agent-9/kill', { instance: 'harbor', waitMs: 0 });
    const all = await killAll({ scope: 'instance', instance: 'harbor', waitMs: 0 });
    const old = [kill.body.commandId, all.body.instances[0]?.commandId ?? ''];
    const { publicKey } = hub.app.get(HubIdentity, { strict: false }).key;
    const { keyId } = await hub.app.get(HubKeys, { strict: false }).rotate('admin', 1);
    await harbor.connect(harbor.key, new KeyRing([keyRecord('hub', publicKey, ['link', 'command'])]));
    const statement = await until('it has heard of the key', () => harbor.statements[0]);
    expect(harbor.ordered).toEqual([]);
    await harbor.acknowledge({ envelope: statement });
    const orderOf = (kind: string): Promise<Ordered> =>
      until(`${kind} has come`, () => harbor.ordered.find((each) => body(each).case === kind));
    for (const [at, order] of [await orderOf('kill'), await orderOf('killAll')].entries()) {
      expect(order.envelope.signatures.map((signature) => signature.keyId)).toEqual([keyId]);
      const id = order.command.header?.id ?? '';
      expect(old).not.toContain(id);
      const view = await viewOf(old[at] ?? '');
      expect(view).toMatchObject({ state: 'FAILED', refusal: { code: 'key-revoked' } });
      expect(view.refusal?.sentence).toContain(id);
    }
    const order = await orderOf('killAll');
    expect(epochOf(order)).toBe(1n);
    const stopping = hub.app.get(Stopping, { strict: false });
    expect(stopping.has('harbor')).toBe(true);
    await harbor.offer(harbor.receipt(order, harbor.killedAll(order, [])), 'kill');
    expect(stopping.has('harbor')).toBe(false);
  }),
);
