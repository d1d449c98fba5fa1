import { makeHeader, signPayload, type SigningKey } from '@capstan/identity';
import { create, Direction, encodeEnvelope, ProbeAnswerSchema, toBinary } from '@capstan/protocol';
import { envelopeDigest } from '@capstan/identity';
import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/until.js';
import { TestHub } from '../../test/test-hub.js';
import { type Ordered, TestSpoke } from '../../test/test-spoke.js';
import { NO_TLS } from '../tls/tls-settings.js';
import type { StoppableView } from './probe.store.js';
import type { ProbeView } from './probes.controller.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;
let hub: TestHub;
let spoke: TestSpoke;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());
afterEach(async () => {
  await spoke.disconnect();
  await hub[Symbol.asyncDispose]();
});

async function start(settings = { probeEveryMs: 0, requireProbe: false }): Promise<void> {
  hub = await TestHub.start(await postgres.freshDatabase(), undefined, NO_TLS, { ...settings, rearm: 'another' });
  spoke = await TestSpoke.connected(hub, 'harbor');
}

interface Lie {
  nonce?: Uint8Array;
  key?: SigningKey;
}

/** Answers probes as the reaper would, or not quite. */
function answerProbes(lie: Lie = {}): void {
  spoke.onOrder = (order) => {
    if (order.command.body.case !== 'probe') return;
    const answer = probeAnswer(order, order.command.body.value.nonce, lie);
    void spoke.offer(spoke.receipt(order, { case: 'probed', value: { answer } }), 'kill');
  };
}

function probeAnswer({ envelope }: Ordered, nonce: Uint8Array, lie: Lie): Uint8Array {
  const payload = create(ProbeAnswerSchema, {
    header: makeHeader({ issuer: 'harbor', audience: 'harbor', direction: Direction.LOCAL }),
    nonce: lie.nonce ?? nonce,
    commandDigest: envelopeDigest(envelope),
    takenAtMs: BigInt(Date.now()),
    bootId: 'boot',
    livingAgents: 3,
  });
  return encodeEnvelope(signPayload(lie.key ?? spoke.reaper, 'probe', toBinary(ProbeAnswerSchema, payload)));
}

const probe = (of = 'harbor') => hub.post<ProbeView & { code?: string }>(`connections/${of}/probe`);
const stoppable = async (): Promise<StoppableView> => {
  const { body } = await hub.get<{ stoppable: StoppableView }[]>('connections');
  const [first] = body;
  if (first === undefined) throw new Error('no connection');
  return first.stoppable;
};
const spawn = () =>
  hub.post<{ code?: string }>('agents/spawn', {
    instance: 'harbor',
    agentType: 'worker',
    context: { repository: '/srv/repository', workItems: ['Map it.'] },
  });

it(
  'proves on demand that a kill would arrive: in the kill lane, with a nonce of its own each time',
  proves('FED-22', async () => {
    await start();
    answerProbes();
    expect(await stoppable()).toEqual({ proven: false, ageMs: null, latencyMs: null });
    const { status, body } = await probe();
    expect(status).toBe(200);
    expect(body).toMatchObject({ instance: 'harbor', proven: true, livingAgents: 3, bootId: 'boot' });
    expect(body.latencyMs).toBeGreaterThan(0);
    expect(await stoppable()).toMatchObject({ proven: true, latencyMs: body.latencyMs });
    await probe();
    const nonces = spoke.ordered.map(({ lane, command }) => {
      expect(lane).toBe('kill');
      return command.body.case === 'probe' ? Buffer.from(command.body.value.nonce).toString('hex') : '';
    });
    expect(new Set(nonces).size).toBe(2);
    expect(nonces.every((nonce) => nonce.length === 64)).toBe(true);
    const { body: all } = await hub.get<{ id: string }[]>('connections');
    expect((await probe(all[0]?.id)).status).toBe(200);
  }),
);

it.each<[string, () => Lie]>([
  ['another nonce', () => ({ nonce: new Uint8Array(32).fill(1) })],
  ['a key that is not the reaper’s', () => ({ key: spoke.key })],
])('does not believe an answer with %s', async (_, lie) =>
  proves('FED-22', async () => {
    await start();
    answerProbes();
    await probe();
    answerProbes(lie());
    const { status, body } = await probe();
    expect(status).toBeGreaterThanOrEqual(400);
    expect(['observation-invalid', 'instance-away']).toContain(body.code);
    expect((await stoppable()).proven).toBe(false);
  })(),
);

it('shows what is away or does not answer as not stoppable', async () => {
  await start();
  answerProbes();
  await probe();
  spoke.onOrder = (order) =>
    void spoke.offer(spoke.receipt(order, { case: 'refused', value: { code: 'internal' } }), 'kill');
  expect(await probe()).toMatchObject({ status: 500, body: { code: 'internal' } });
  expect(await stoppable()).toMatchObject({ proven: false, ageMs: expect.any(Number) as number });
  await spoke.disconnect();
  await until('harbor is away', async () => {
    const { body } = await hub.get<{ online: boolean }[]>('connections');
    return body[0]?.online === false;
  });
  expect(await probe()).toMatchObject({ status: 504, body: { code: 'instance-away' } });
  expect((await probe('nowhere')).status).toBe(404);
});

it(
  'asks by itself, and refuses spawns where it was told to while nothing is proven',
  proves('FED-22', async () => {
    await start({ probeEveryMs: 400, requireProbe: true });
    expect(await spawn()).toMatchObject({ status: 422, body: { code: 'policy-probe' } });
    answerProbes();
    await until('it is proven', async () => (await stoppable()).proven);
    expect((await spawn()).status).toBe(202);
    await until('it is asked again and again', () => spoke.ordered.length > 3);
    spoke.onOrder = () => undefined;
    await until('the proof is too old', async () => !(await stoppable()).proven);
    expect((await spawn()).body.code).toBe('policy-probe');
  }),
);

it('knows after a restart when each instance was last proven to be stoppable', async () => {
  await start();
  answerProbes();
  await probe();
  await until('it is stored', async () => {
    await hub.stop().catch(() => undefined);
    hub = await hub.successor();
    return (await stoppable()).ageMs !== null;
  });
  // It is stoppable again once it is here again.
  expect((await stoppable()).proven).toBe(false);
});
