import { keyRecord, KeyRing } from '@capstan/identity';
import { create, KillEpochSchema } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import type { TestHub } from '../../test/test-hub.js';
import { TestReplicas } from '../../test/test-replicas.js';
import type { Ordered } from '../../test/test-spoke.js';
import { Answers } from '../commands/answers.js';
import type { CommandView } from '../commands/command-view.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { HubKeys } from '../keys/hub-keys.js';
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
    const ends: (string | undefined)[] = [];
    answers.onAny(({ record }) => {
      if (record.id === old && record.settledAt !== null) ends.push(record.refusal?.code);
    });
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
    // Whoever pursues it there pursues it no longer; whoever waits is not told that it failed.
    expect(ends).toEqual(['kill-epoch']);
    await spoke.offer(spoke.receipt(next, spoke.killedAll(next, ['agent-1'])), 'kill');
    const { body } = await answered;
    expect(body.receipts.map(({ kind }) => kind)).toContain('killed-all');
  }),
);

const INSTANCE = { scope: 'instance', scopeId: '' } as const;

/** What the replica that is left orders of its own, as heartbeats come that tell this number. */
function orderedByTheOther(old: string | undefined, epoch: bigint): Promise<Ordered> {
  const { second, spoke } = replicas;
  const epochs = second.app.get(KillEpochs, { strict: false });
  return until('it was ordered by the other', () => {
    epochs.hear('harbor', [create(KillEpochSchema, { ...INSTANCE, epoch })]);
    return spoke.ordered.find(({ command }) => command.body.case === 'killAll' && command.header?.id !== old);
  });
}

test(
  'a kill-all of a replica that is gone is corrected by another, once that one had time to',
  proves(['FED-10', 'FED-19'], async () => {
    const { first, second, spoke } = replicas;
    const old = await killAll();
    const order = await replicas.orderOf(old);
    await first.stop();
    await spoke.offer(spoke.receipt(order, { case: 'refused', value: { code: 'kill-epoch' } }), 'kill');
    const next = await orderedByTheOther(old, 4n);
    expect(next.command.body).toMatchObject({ value: { epoch: 5n } });
    await spoke.offer(spoke.receipt(next, spoke.killedAll(next, [])), 'kill');
    await until('the other renews leases', () => !isStopped(second));
  }),
);

test(
  'a kill-all of a replica that is gone is ordered under the hub’s present key by another',
  proves(['FED-10', 'FED-19'], async () => {
    const { first, second, spoke } = replicas;
    const old = await killAll();
    await spoke.disconnect();
    await first.stop();
    const { publicKey } = second.app.get(HubIdentity, { strict: false }).key;
    const { keyId } = await second.app.get(HubKeys, { strict: false }).rotate('admin', 1);
    await spoke.connect(spoke.key, new KeyRing([keyRecord('hub', publicKey, ['link', 'command'])]), second);
    await spoke.acknowledge({ envelope: await until('it has heard of the key', () => spoke.statements[0]) });
    const next = await until('it was ordered by the other', () =>
      spoke.ordered.find(({ command }) => command.body.case === 'killAll' && command.header?.id !== old),
    );
    expect(next.envelope.signatures.map((signature) => signature.keyId)).toEqual([keyId]);
    expect(next.command.body).toMatchObject({ value: { epoch: 1n } });
    await spoke.offer(spoke.receipt(next, spoke.killedAll(next, [])), 'kill');
    await until('the other renews leases', () => !isStopped(second));
  }),
);

test(
  'what a replica has disarmed, and was killed before it told the instance, another tells',
  proves(['FED-10', 'FED-19'], async () => {
    const { first, second } = replicas;
    const row = { ...INSTANCE, instance: 'harbor', epoch: 1n, armed: false, orderedBy: 'bob', connection: '' };
    const audit = [{ kind: 'killswitch.disarmed', subject: 'harbor', atMs: Date.now(), detail: { by: 'bob' } }];
    await first.app.get(KillEpochs, { strict: false }).set([{ ...row, changedAt: new Date() }], audit);
    await first.stop();
    const { command } = await orderedByTheOther(undefined, 0n);
    expect(command).toMatchObject({ header: { onBehalfOf: 'bob' }, body: { value: { epoch: 1n } } });
    expect(isStopped(second)).toBe(true);
  }),
);
