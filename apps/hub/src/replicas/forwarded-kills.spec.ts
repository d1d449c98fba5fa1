import { newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestReplicas } from '../../test/test-replicas.js';
import { TestSpoke } from '../../test/test-spoke.js';
import { CommandBook } from '../commands/command.book.js';
import { CommandFactory } from '../commands/command-factory.js';
import { envelopeText } from '../commands/envelope-text.js';
import { Outbox } from '../commands/outbox.js';
import { Presence } from './presence.js';
import { ReplicaBus } from './replica-bus.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let replicas: TestReplicas;

beforeAll(async () => {
  replicas = await TestReplicas.start();
});
afterAll(() => replicas[Symbol.asyncDispose]());

/** The first replica believes that another one, which does not answer, holds the instance's newest link. */
function isSaidToBeElsewhere(instance: string): void {
  const link = { instance, key: 'a key', epoch: '999999', renewedAtMs: Date.now() };
  replicas.first.app.get(Presence, { strict: false }).take('a replica that is gone', [link]);
}

const kill = async (instance: string): Promise<string> => {
  const { status, body } = await replicas.first.post<{ commandId: string }>('agents/agent-9/kill', {
    instance,
    waitMs: 0,
  });
  expect(status).toBe(202);
  return body.commandId;
};

test(
  'a kill reaches the instance at the replica that has its link, whichever is said to have it',
  proves(['FED-05', 'FED-19'], async () => {
    isSaidToBeElsewhere('harbor');
    const order = await replicas.orderOf(await kill('harbor'));
    expect(order.lane).toBe('kill');
  }),
);

test(
  'a kill of an instance that no replica has, although one is said to, reaches it when it comes back',
  proves(['FED-05', 'FED-19'], async () => {
    await using pier = await TestSpoke.connected(replicas.second, 'pier');
    await replicas.known(replicas.first, 'pier');
    await pier.disconnect();
    isSaidToBeElsewhere('pier');
    const commandId = await kill('pier');
    await pier.connect();
    await replicas.orderOf(commandId, pier);
  }),
);

test(
  'a kill of another replica lasts as long as its signature says, whatever came with it',
  proves('FED-19', async () => {
    const { first, second } = replicas;
    const order = { id: newId(), instance: 'harbor', agentId: 'agent-9', tenant: 'default', onBehalfOf: 'admin' };
    const body = { case: 'kill', value: { agentId: 'agent-9', reason: '' } } as const;
    const lifetimeMs = 3 * 3_600_000;
    const made = first.app.get(CommandFactory, { strict: false }).make({ ...order, body, lifetimeMs });
    const unsigned = { expiresAt: new Date(0).toISOString(), expiresAtMs: 1 };
    const message = { kind: 'kill', envelope: envelopeText(made.envelope), admission: null, ...unsigned } as const;
    first.app.get(ReplicaBus, { strict: false }).publish(message);
    await replicas.orderOf(order.id);
    second.app.get(Outbox, { strict: false }).sweep(Date.now());
    const taken = second.app.get(CommandBook, { strict: false }).get(order.id);
    expect(taken).toMatchObject({ state: 'PENDING', expiresAt: made.expiresAt });
    await until('it is on disk', async () => (await second.get(`commands/${order.id}`)).status === 200);
  }),
);
