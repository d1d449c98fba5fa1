import { makeHeader, signPayload, SigningKey } from '@capstan/identity';
import { closeValkey, connectValkey, metrics } from '@capstan/platform';
import { AgentState, CommandSchema, create, Direction, hubId, KillOutcome, newId, toBinary } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestReplicas } from '../../test/test-replicas.js';
import { type Ordered, snapshot } from '../../test/test-spoke.js';
import { envelopeText } from '../commands/envelope-text.js';
import type { CommandView } from '../commands/command-view.js';
import { KillEpochs } from '../killswitch/kill-epochs.js';
import type { BusMessage } from './bus-message.js';
import { BusSeal } from './bus-seal.js';
import { ReplicaBus } from './replica-bus.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(90_000);

const CHANNEL = 'capstan:hub:replicas';
const FAR = String(1n << 50n);
const TIMES = 50;

let replicas: TestReplicas;
let stranger: Awaited<ReturnType<typeof connectValkey>>;

beforeAll(async () => {
  replicas = await TestReplicas.start();
  stranger = await connectValkey(replicas.valkey.url);
});
afterAll(async () => {
  await closeValkey(stranger);
  await replicas[Symbol.asyncDispose]();
});

/** One of each kind, each as harmful as it can be. */
function forged(agentId: string): BusMessage[] {
  const header = makeHeader({ issuer: 'hub', audience: 'harbor', direction: Direction.HUB_TO_SPOKE });
  const body = { case: 'kill', value: { agentId, reason: '' } } as const;
  const payload = toBinary(CommandSchema, create(CommandSchema, { header, body }));
  const envelope = envelopeText(signPayload(SigningKey.generate(), 'command', payload));
  const instance = 'harbor';
  const scopes = ['mesh', 'instance'].map((scope) => ({ scope, scopeId: '', epoch: FAR }));
  return [
    { kind: 'wrote' },
    { kind: 'links', links: [{ instance, key: 'k', epoch: FAR, renewedAtMs: Number(FAR) }] },
    { kind: 'kill', envelope, admission: null },
    { kind: 'ask', instance, lane: 'kill', id: header.id, envelope },
    { kind: 'answer', instance, envelope },
    { kind: 'lines', instance, envelope },
    { kind: 'rejected', instance, digest: '00', code: 'overloaded' },
    { kind: 'told', instance, epochs: [...scopes, { scope: 'tenant', scopeId: 'default', epoch: FAR }] },
  ];
}

async function refused(why: string): Promise<number> {
  const metric = await metrics.registry.getSingleMetric('capstan_bus_refused_total')?.get();
  return metric?.values.find(({ labels }) => labels['why'] === why)?.value ?? 0;
}

/** Says everything many times, in the clear and under a key of his own; resolves once both replicas have had it. */
async function flood(agentId: string): Promise<void> {
  const seal = new BusSeal({ believedKeys: [SigningKey.generate()], hubId: hubId('hub') });
  const before = await refused('authenticator');
  const messages = forged(agentId);
  for (let time = 0; time < TIMES; time += 1) {
    const clear = messages.map((message) => JSON.stringify({ from: newId(), message }));
    const sealed = messages.map((message) => seal.seal(message));
    await Promise.all([...clear, ...sealed].map((text) => stranger.publish(CHANNEL, text)));
  }
  const all = before + 2 * 2 * TIMES * messages.length;
  await until('both have refused it', async () => (await refused('authenticator')) >= all);
}

/** Its reaper counts from nothing, and refuses a jump. */
function obey(order: Ordered): void {
  const { spoke } = replicas;
  const { body } = order.command;
  const offer = async (): Promise<void> => {
    if (body.case === 'spawn') {
      const value = snapshot(body.value.agentId, AgentState.QUEUED, 1n);
      await spoke.offer(spoke.receipt(order, { case: 'spawned', value }));
    }
    if (body.case === 'kill') {
      const observation = spoke.observation(order, body.value.agentId, KillOutcome.KILLED);
      await spoke.offer(spoke.receipt(order, { case: 'killed', value: { outcome: KillOutcome.KILLED, observation } }));
    }
    if (body.case === 'killAll' && body.value.epoch === 1n)
      await spoke.offer(spoke.receipt(order, spoke.killedAll(order, [])), 'kill');
  };
  void offer().catch(() => undefined);
}

describe('whoever can write to the replicas’ Valkey', () => {
  test(
    'closes no link, stops no kill and no kill-all, and answers nothing in an instance’s name',
    proves(['FED-19', 'FED-10'], async () => {
      const { first, second, spoke } = replicas;
      spoke.onOrder = obey;
      const { commandId, agentId } = await replicas.spawn(first);
      const { link } = spoke;
      await flood(agentId);
      expect(spoke.link === link).toBe(true);
      await until('the spawn is settled', async () => {
        const { body } = await first.get<CommandView>(`commands/${commandId}`);
        return body.receipts.length > 0;
      });
      await flood(agentId);
      const killed = await first.post(`agents/${agentId}/kill`);
      expect(killed.body).toMatchObject({ outcome: 'killed', confirmed: true });
      await flood(agentId);
      const headers = {
        authorization: `Bearer ${first.token}`,
        accept: 'application/json',
        'content-type': 'application/json',
      };
      const order = JSON.stringify({ scope: 'instance', instance: 'harbor', waitMs: 20_000 });
      const { body } = await first.request('POST', 'agents/kill-all', order, headers);
      expect(body).toMatchObject({ instances: [{ instance: 'harbor', confirmed: true, epoch: '1' }] });
      expect(spoke.link === link).toBe(true);
      await replicas.known(second, 'harbor');
    }),
  );

  test(
    'repeats what the replicas have said to no effect',
    proves('FED-19', async () => {
      const recorder = await connectValkey(replicas.valkey.url);
      const recorded: string[] = [];
      recorder.on('message', (_channel, text) => recorded.push(text));
      await recorder.subscribe(CHANNEL);
      await until('the replicas have said something', () => recorded.length >= 4);
      await closeValkey(recorder);
      const before = await refused('repeated');
      for (const text of recorded) await stranger.publish(CHANNEL, text);
      await until('both have refused it', async () => (await refused('repeated')) >= before + 2 * recorded.length);
    }),
  );
});

test('a jump of kill epochs that another replica tells is not believed', async () => {
  const { first, second } = replicas;
  const told = (scope: string, epoch: string): BusMessage => ({
    kind: 'told',
    instance: 'nowhere',
    epochs: [
      { scope: 'mesh', scopeId: '', epoch: FAR },
      { scope, scopeId: '', epoch },
    ],
  });
  first.app.get(ReplicaBus, { strict: false }).publish(told('instance', '41'));
  const epochs = second.app.get(KillEpochs, { strict: false });
  const next = (scope: 'mesh' | 'instance') => epochs.next('nowhere', { scope, scopeId: '' });
  await until('the step is taken', () => next('instance') === 42n);
  expect(next('mesh')).toBe(1n);
});
