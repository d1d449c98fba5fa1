import { create, KillEpochSchema, KillScope } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestFederation } from '../../test/test-federation.js';
import { type Ordered, readInvite, TestSpoke } from '../../test/test-spoke.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { KillEpochs } from './kill-epochs.js';
import { Stopping } from './stopping.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let federation: TestFederation;

beforeEach(async () => {
  federation = await TestFederation.start();
});
afterEach(() => federation[Symbol.asyncDispose]());

const killAll = (order: object) =>
  federation.hub.request('POST', 'agents/kill-all', JSON.stringify({ waitMs: 0, ...order }), {
    authorization: `Bearer ${federation.hub.token}`,
    accept: 'application/json',
  });

const isStopped = (): boolean => federation.hub.app.get(Stopping, { strict: false }).has('harbor');

async function disconnectedByAdmin(): Promise<void> {
  const { hub } = federation;
  const { body } = await hub.get<{ id: string; instanceId: string }[]>('connections');
  const id = body.find(({ instanceId }) => instanceId === 'harbor')?.id ?? '';
  expect((await hub.post(`connections/${id}/disconnect`)).status).toBe(200);
  await federation.spoke.disconnect();
}

/** The same owner, on another machine: another key and another reaper. */
async function enrolledAnew(): Promise<TestSpoke> {
  const { hub } = federation;
  const spoke = new TestSpoke(hub, 'harbor');
  const { body } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
  expect((await spoke.redeem(readInvite(body.invite))).status).toBe(200);
  return spoke;
}

/** An order that is no kill, so that one can see what comes before it. */
const asksStatus = (): void => void federation.hub.get('agents/agent-9/status').catch(() => undefined);

/** What it was ordered, each order once: one that is open may come again. */
function kinds({ ordered }: TestSpoke) {
  const once = new Map(ordered.map(({ command: { header, body } }) => [header?.id, body.case]));
  return [...once.values()];
}
const firstOf = (spoke: TestSpoke): Promise<Ordered> => until('it was told', () => spoke.ordered[0]);

test(
  'a kill-all that ended with its connection is the first thing that the instance hears when it is enrolled anew',
  proves(['FED-03', 'FED-10'], async () => {
    await federation.spoke.disconnect();
    await killAll({ scope: 'instance', instance: 'harbor' });
    await disconnectedByAdmin();
    expect(isStopped()).toBe(false);
    await using spoke = await enrolledAnew();
    await federation.hub.post('agents/agent-9/kill', { instance: 'harbor', waitMs: 0 });
    asksStatus();
    await spoke.connect();
    const { command, lane } = await firstOf(spoke);
    expect(command.body).toMatchObject({ case: 'killAll', value: { scope: KillScope.INSTANCE, epoch: 1n } });
    expect(lane).toBe('kill');
    expect(isStopped()).toBe(true);
  }),
);

test(
  'so is one of the mesh and one of a tenant that had been proven under the former enrolment, each once',
  proves(['FED-03', 'FED-10'], async () => {
    const obey = (spoke: TestSpoke): void => {
      spoke.onOrder = (order) => {
        if (order.command.body.case !== 'killAll') return;
        void spoke.offer(spoke.receipt(order, spoke.killedAll(order, ['agent-1'])), 'kill');
      };
    };
    for (const spoke of [federation.spoke, federation.other]) obey(spoke);
    await killAll({ scope: 'mesh', waitMs: 20_000 });
    await killAll({ scope: 'tenant', tenant: 'berth', waitMs: 20_000 });
    await disconnectedByAdmin();
    await using spoke = await enrolledAnew();
    obey(spoke);
    await spoke.connect();
    await until('both have come', () => kinds(spoke).length > 1);
    expect(kinds(spoke)).toEqual(['killAll', 'killAll']);
    await until('it has proven that it obeys', () => !isStopped());
    await spoke.disconnect();
    await spoke.connect();
    // What is told on a new link is told before this.
    await federation.hub.post('agents/agent-9/kill', { instance: 'harbor', waitMs: 0 });
    await until('the kill has come', () => kinds(spoke).includes('kill'));
    expect(kinds(spoke)).toEqual(['killAll', 'killAll', 'kill']);
  }),
);

const AN_HOUR_MS = 3_600_000;

/** Answers each kill-all with a proof. */
function obeys(spoke: TestSpoke): void {
  spoke.onOrder = (order) => {
    if (order.command.body.case !== 'killAll') return;
    void spoke.offer(spoke.receipt(order, spoke.killedAll(order, [])), 'kill');
  };
}

test('whoever is enrolled anew is told also where the kill-all was dated ahead, by a number of its own reaper', async () => {
  const scope = { scope: 'instance', scopeId: '' } as const;
  const epochs = federation.hub.app.get(KillEpochs, { strict: false });
  obeys(federation.spoke);
  await killAll({ scope: 'instance', instance: 'harbor', waitMs: 20_000 });
  epochs.hear('harbor', [create(KillEpochSchema, { ...scope, epoch: 1n })]);
  const row = epochs.of('harbor', scope);
  if (row === undefined) throw new Error('nothing was ordered');
  await epochs.set([{ ...row, changedAt: new Date(Date.now() + AN_HOUR_MS) }], []);
  await disconnectedByAdmin();
  await using spoke = await enrolledAnew();
  await spoke.connect();
  const { command } = await firstOf(spoke);
  expect(command.body).toMatchObject({ case: 'killAll', value: { scope: KillScope.INSTANCE, epoch: 1n } });
});

test('who was enrolled by a clock that was ahead is told once, and not on each link', async () => {
  const { hub, spoke } = federation;
  const store = hub.app.get(ConnectionStore, { strict: false });
  store.keep({ ...store.ofInstance('harbor'), createdAt: new Date(Date.now() + AN_HOUR_MS) });
  obeys(spoke);
  await killAll({ scope: 'instance', instance: 'harbor', waitMs: 20_000 });
  await spoke.disconnect();
  await spoke.connect();
  // What is told on a new link is told before this.
  await hub.post('agents/agent-9/kill', { instance: 'harbor', waitMs: 0 });
  await until('the kill has come', () => kinds(spoke).includes('kill'));
  expect(kinds(spoke)).toEqual(['killAll', 'kill']);
});
