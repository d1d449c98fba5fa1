import { create, KillEpochSchema } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import type { TestHub } from '../../test/test-hub.js';
import { TestReplicas } from '../../test/test-replicas.js';
import type { Ordered } from '../../test/test-spoke.js';
import { Answers } from '../commands/answers.js';
import type { CommandView } from '../commands/command-view.js';
import { KillEpochs } from '../killswitch/kill-epochs.js';
import { Stopping } from '../killswitch/stopping.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let replicas: TestReplicas;

beforeEach(async () => {
  replicas = await TestReplicas.start();
});
afterEach(() => replicas[Symbol.asyncDispose]());

const isStopped = (hub: TestHub): boolean => hub.app.get(Stopping, { strict: false }).has('harbor');

async function killAll(): Promise<string> {
  const order = JSON.stringify({ scope: 'instance', instance: 'harbor', waitMs: 0 });
  const headers = { authorization: `Bearer ${await tokenOf('bob')}`, accept: 'application/json' };
  const { body } = await replicas.first.request<{ instances: { commandId: string }[] }>(
    'POST',
    'agents/kill-all',
    order,
    headers,
  );
  const commandId = body.instances[0]?.commandId ?? '';
  await replicas.orderOf(commandId);
  return commandId;
}

const tokenOf = async (name: string): Promise<string> =>
  (await replicas.first.post<{ token: string }>('/api/v1/auth/tokens', { name })).body.token;

/** The reaper lets agents start again; of the death of the one that it was told to kill it has no proof. */
async function rearms({ command, envelope, lane }: Ordered): Promise<void> {
  const { spoke } = replicas;
  const order = { command, envelope, lane };
  if (command.body.case !== 'rearm') return;
  await spoke.offer(spoke.receipt(order, { case: 'rearmed', value: { epoch: command.body.value.epoch } }));
}

test.each([
  ['', false],
  [' although nothing comes over the bus', true],
])('re-arming at one lets every replica renew leases again%s', (_, isAway) =>
  proves(['FED-10', 'FED-19'], async () => {
    const { first, second, spoke } = replicas;
    await killAll();
    await until('both renew no leases', () => [first, second].every(isStopped));
    if (isAway) await replicas.valkey.crash();
    spoke.onOrder = (order) => void rearms(order).catch(() => undefined);
    const alice = await tokenOf('alice');
    const order = JSON.stringify({ scope: 'instance', instance: 'harbor', waitMs: 20_000 });
    await first.request('POST', 'agents/rearm', order, { authorization: `Bearer ${alice}` });
    await until('both renew leases', () => ![first, second].some(isStopped));
    if (isAway) await replicas.valkey.restart();
  })(),
);

test(
  'who waits at one for an order that the other gives anew hears what became of it',
  proves(['FED-10', 'FED-19'], async () => {
    const { first, second, spoke } = replicas;
    const old = await killAll();
    const order = await replicas.orderOf(old);
    await spoke.offer(spoke.receipt(order, { case: 'refused', value: { code: 'kill-epoch' } }), 'kill');
    const answered = second.get<CommandView>(`commands/${old}?waitMs=30000`);
    const answers = second.app.get(Answers, { strict: false });
    await until('somebody waits at the second', () => answers.isAwaited(old));
    const told = [create(KillEpochSchema, { scope: 'instance', scopeId: '', epoch: 4n })];
    const next = await until('it was ordered anew', () => {
      first.app.get(KillEpochs, { strict: false }).hear('harbor', told);
      return spoke.ordered.findLast(({ command }) => command.body.case === 'killAll' && command.header?.id !== old);
    });
    await until(
      'the second has heard that',
      async () => (await second.get<CommandView>(`commands/${old}`)).body.state === 'FAILED',
    );
    await spoke.offer(spoke.receipt(next, spoke.killedAll(next, ['agent-1'])), 'kill');
    const { body } = await answered;
    expect(body.receipts.map(({ kind }) => kind)).toContain('killed-all');
  }),
);
