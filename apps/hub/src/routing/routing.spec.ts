import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { envelopeDigest, keyRecord, KeyRing, openRouted, SigningKey, verifyAdmission } from '@capstan/identity';
import { verifyReceipt } from '@capstan/evidence';
import { AgentState, Direction, type Envelope, fromHex, KillOutcome, KillScope, newId, toHex } from '@capstan/protocol';
import pg from 'pg';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import {
  addOperator,
  type ForeignBody,
  operatorCommand,
  peerCommand,
  postCommand,
  soundSpawn,
} from '../../test/foreign-orders.js';
import { TestFederation } from '../../test/test-federation.js';
import { type Ordered, snapshot, TestSpoke } from '../../test/test-spoke.js';
import { Outbox } from '../commands/outbox.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

const alice = SigningKey.generate();
let federation: TestFederation;
let hub: TestFederation['hub'];
let harbor: TestFederation['spoke'];
let quay: TestFederation['other'];
let hubKeys: KeyRing;

beforeAll(async () => {
  federation = await TestFederation.start();
  ({ hub, spoke: harbor, other: quay } = federation);
  const { body } = await hub.get<{ keys: { publicKey: string }[] }>('instance');
  hubKeys = new KeyRing([keyRecord('hub', fromHex(body.keys[0]?.publicKey ?? ''), ['admit'])]);
  await addOperator(hub, alice);
  await allow();
});

afterAll(() => federation[Symbol.asyncDispose]());

const POLICY = `version: 1
instances:
  - { origin: quay, verbs: [spawn, status, kill], targets: [harbor, wharf], tenants: [default] }
`;

async function allow(policy = POLICY): Promise<void> {
  await writeFile(join(hub.stateDirectory, 'routing.yaml'), policy);
}

function status(agentId = 'agent-1'): ForeignBody {
  return { case: 'status', value: { agentId } };
}

function arrived(envelope: Envelope, at: TestSpoke = harbor): Promise<Ordered> {
  const digest = toHex(envelopeDigest(envelope));
  return until('the order has come', () => at.ordered.find((o) => toHex(envelopeDigest(o.envelope)) === digest));
}

function forwarded(receipt: Envelope) {
  const digest = toHex(envelopeDigest(receipt));
  const isIt = (it: Envelope | undefined): boolean => it !== undefined && toHex(envelopeDigest(it)) === digest;
  return until('the answer was sent on', () => quay.forwarded.find(({ envelope }) => isIt(envelope)));
}

async function sql(text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: hub.databaseUrl });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

describe('a command of one instance for another', () => {
  test(
    'is committed, admitted, sent as it was signed, and its answer is sent on unchanged with the hub’s word',
    proves('FED-09', async () => {
      const agentId = newId();
      const spawn = peerCommand(quay.key, soundSpawn(agentId));
      expect(await quay.offer(spawn, 'commands')).toEqual({ is: 'acknowledged' });
      const order = await arrived(spawn);
      const { envelope, admission } = order;
      const trust = { hub: hubKeys, operators: new KeyRing(), peers: new KeyRing() };
      expect(openRouted({ envelope, admission }, trust, 'harbor')).toMatchObject({
        origin: 'peer',
        admission: { route: ['quay', 'hub'], tenant: 'default', originKey: { keyId: quay.key.keyId } },
      });
      const id = order.command.header?.id ?? '';
      expect(
        await sql(`SELECT issuer, state, admission IS NOT NULL AS admitted FROM commands WHERE id = '${id}'`),
      ).toEqual([{ issuer: 'quay', state: 'PENDING', admitted: true }]);
      expect(await sql(`SELECT kind FROM audit WHERE subject = '${id}'`)).toEqual([{ kind: 'command.routed' }]);

      const receipt = harbor.receipt(order, { case: 'spawned', value: snapshot(agentId, AgentState.QUEUED, 1n) });
      expect(await harbor.offer(receipt)).toEqual({ is: 'acknowledged' });
      const answer = await forwarded(receipt);
      const digest = envelopeDigest(receipt);
      const word = { keys: hubKeys, audience: 'quay', digest, nowMs: Date.now() };
      expect(verifyAdmission(answer.admission, word)).toMatchObject({
        originKey: { keyId: harbor.key.keyId },
        observerKey: { keyId: harbor.reaper.keyId, owner: 'harbor' },
      });
      const keys = new KeyRing([keyRecord('harbor', harbor.key.publicKey, ['receipt'])]);
      expect(verifyReceipt({ envelope: receipt, keys, command: spawn, hubId: 'hub' }).kind).toBe('spawned');
      expect(await federation.command(id)).toMatchObject({ state: 'DELIVERED', receipts: [{ kind: 'spawned' }] });
    }),
  );

  test('that comes again is taken once; its answers are sent again', async () => {
    const order = peerCommand(quay.key, status());
    await quay.offer(order, 'commands');
    const receipt = harbor.receipt(await arrived(order), {
      case: 'status',
      value: snapshot('agent-1', AgentState.RUNNING, 2n),
    });
    await harbor.offer(receipt);
    await forwarded(receipt);
    const before = quay.forwarded.length;
    expect(await quay.offer(order, 'commands')).toEqual({ is: 'acknowledged' });
    await until('it was sent on again', () => quay.forwarded.length > before);
    expect(
      harbor.ordered.filter(({ envelope }) => toHex(envelopeDigest(envelope)) === toHex(envelopeDigest(order))),
    ).toHaveLength(1);
  });

  test('that comes several times at once is one, and nobody else’s waits for it', async () => {
    const order = peerCommand(quay.key, status());
    const others = [peerCommand(quay.key, status()), peerCommand(quay.key, status())];
    for (const again of [order, order]) void quay.offer(again, 'commands');
    const offers = [...others, order].map((envelope) => quay.offer(envelope, 'commands'));
    expect(await Promise.all(offers)).toEqual(offers.map(() => ({ is: 'acknowledged' })));
    const { command } = await arrived(order);
    for (const other of others) await arrived(other);
    expect(await sql(`SELECT kind FROM audit WHERE subject = '${command.header?.id ?? ''}'`)).toHaveLength(1);
  });

  test('that the target refuses without a signature is told as the hub’s word', async () => {
    const order = peerCommand(quay.key, status());
    await quay.offer(order, 'commands');
    await harbor.reject(await arrived(order), 'policy-peer', false);
    await until('it was told', () => quay.refused.get(toHex(envelopeDigest(order))) === 'policy-peer');
  });

  test('that nobody has answered in its time is told as open, not as refused: its effect may still be reported', async () => {
    const order = peerCommand(quay.key, status(), { lifetimeMs: 10_000 });
    await quay.offer(order, 'commands');
    await arrived(order);
    hub.app.get(Outbox, { strict: false }).sweep(Date.now() + 11_000);
    await until('it was told', () => quay.refused.get(toHex(envelopeDigest(order))) === 'instance-away');
  });

  test(
    'to kill goes in the kill lane, and is open until the death is proven',
    proves('FED-09', async () => {
      const agentId = newId();
      const kill = peerCommand(
        quay.key,
        { case: 'kill', value: { agentId, reason: 'enough' } },
        { nowMs: 1, lifetimeMs: 1 },
      );
      expect(await quay.offer(kill, 'kill')).toEqual({ is: 'acknowledged' });
      const order = await arrived(kill);
      expect(order.lane).toBe('kill');
      const unconfirmed = harbor.receipt(order, { case: 'killed', value: { outcome: KillOutcome.UNCONFIRMED } });
      await harbor.offer(unconfirmed, 'kill');
      const observation = harbor.observation(order, agentId, KillOutcome.KILLED);
      const killed = harbor.receipt(order, { case: 'killed', value: { outcome: KillOutcome.KILLED, observation } });
      await harbor.offer(killed, 'kill');
      await forwarded(killed);
    }),
  );

  test.each<[string, () => Envelope, string]>([
    ['for the hub', () => peerCommand(quay.key, status(), { audience: 'hub' }), 'wrong-audience'],
    ['for itself', () => peerCommand(quay.key, status(), { audience: 'quay' }), 'route-cycle'],
    ['for nobody that is known', () => peerCommand(quay.key, status(), { audience: 'atlantis' }), 'instance-unknown'],
    ['in another’s name', () => peerCommand(quay.key, status(), { issuer: 'harbor' }), 'wrong-issuer'],
    ['in the hub’s name', () => peerCommand(quay.key, status(), { issuer: 'hub' }), 'wrong-issuer'],
    ['of another instance’s key', () => peerCommand(harbor.key, status(), { issuer: 'harbor' }), 'key-unknown'],
    ['of an operator, over an instance’s link', () => operatorCommand(alice, status()), 'key-unknown'],
    ['of its reaper’s key', () => peerCommand(quay.reaper, status()), 'key-purpose'],
    [
      'as if the hub had ordered',
      () => peerCommand(quay.key, status(), { direction: Direction.HUB_TO_SPOKE }),
      'wrong-direction',
    ],
    [
      'as if an operator had',
      () => peerCommand(quay.key, status(), { direction: Direction.OPERATOR_TO_SPOKE }),
      'wrong-direction',
    ],
    ['that may pass no hub', () => peerCommand(quay.key, status(), { hopLimit: 0 }), 'hop-limit'],
    ['of a key epoch that is not', () => peerCommand(quay.key, status(), { keyEpoch: 2 }), 'key-revoked'],
    ['that has expired', () => peerCommand(quay.key, status(), { nowMs: Date.now() - 120_000 }), 'expired'],
    [
      'from a clock that is ahead',
      () => peerCommand(quay.key, status(), { nowMs: Date.now() + 120_000 }),
      'clock-skew',
    ],
    ['that never ends', () => peerCommand(quay.key, status(), { lifetimeMs: 10 ** 12 }), 'payload-malformed'],
    ['for a tenant that is not its own', () => peerCommand(quay.key, status(), { tenant: 'secret' }), 'policy-peer'],
    [
      'to re-arm',
      () => peerCommand(quay.key, { case: 'rearm', value: { scope: KillScope.MESH, epoch: 1n } }),
      'wrong-direction',
    ],
    [
      'to kill all',
      () => peerCommand(quay.key, { case: 'killAll', value: { scope: KillScope.MESH, epoch: 1n } }),
      'wrong-direction',
    ],
    ['about an agent without a name', () => peerCommand(quay.key, status('..')), 'id-malformed'],
  ])('%s is refused', (_, make, code) =>
    proves('FED-09', async () => {
      const count = harbor.ordered.length;
      expect(await quay.offer(make(), 'commands')).toMatchObject({ is: 'rejected', code });
      expect(harbor.ordered).toHaveLength(count);
    })(),
  );

  test('whose signature was changed, or is that of another type, is refused', async () => {
    const order = peerCommand(quay.key, status());
    const changed = { ...order, payload: Uint8Array.from(order.payload, (byte, at) => (at === 30 ? byte ^ 1 : byte)) };
    expect(await quay.offer(changed, 'commands')).toMatchObject({ code: 'signature-invalid' });
    const asQuery = { ...order, payloadType: 'application/vnd.capstan.query.v1+protobuf' };
    expect(await quay.offer(asQuery, 'commands')).toMatchObject({ code: 'payload-type-unknown' });
  });

  test(
    'never takes the id of another: not of the hub’s, not of another issuer’s, and changes nothing of it',
    proves(['FED-07', 'FED-09'], async () => {
      const { commandId } = await federation.spawned();
      const row = `SELECT issuer, kind, encode(digest, 'hex') AS digest FROM commands WHERE id = '${commandId}'`;
      const before = await sql(row);
      for (const body of [soundSpawn(), status(), { case: 'kill', value: { agentId: newId() } } as const]) {
        expect(await quay.offer(peerCommand(quay.key, body, { id: commandId }), 'commands')).toMatchObject({
          code: 'replayed',
        });
      }
      const mine = peerCommand(quay.key, status(), { id: newId() });
      await quay.offer(mine, 'commands');
      const { header } = (await arrived(mine)).command;
      const theirs = operatorCommand(alice, status(), { id: header?.id ?? '' });
      expect((await postCommand(hub, theirs)).body.code).toBe('replayed');
      expect(await sql(row)).toEqual(before);
    }),
  );

  test('never takes the id of one that only the database remembers', async () => {
    const { commandId } = await federation.spawned();
    await harbor.disconnect();
    await quay.disconnect();
    await hub.stop();
    // Settled, so that it is not read into memory at the start.
    await sql(`UPDATE commands SET settled_at = now(), state = 'FAILED' WHERE id = '${commandId}'`);
    const again = await restarted(await hub.successor());
    const taken = peerCommand(again.quay.key, status(), { id: commandId });
    expect(await again.quay.offer(taken, 'commands')).toMatchObject({ code: 'replayed' });
    const spawn = peerCommand(again.quay.key, soundSpawn(), { id: commandId });
    expect(await again.quay.offer(spawn, 'commands')).toMatchObject({ code: 'replayed' });
  });

  test('is routed only as the hub’s policy says, which holds from the next command on', async () => {
    await allow('version: 1\ninstances: [{ origin: quay, verbs: [status], targets: [harbor], tenants: ["*"] }]\n');
    expect(await quay.offer(peerCommand(quay.key, soundSpawn()), 'commands')).toMatchObject({ code: 'policy-peer' });
    const kill = peerCommand(quay.key, { case: 'kill', value: { agentId: newId() } });
    expect(await quay.offer(kill, 'kill')).toMatchObject({ code: 'policy-peer' });
    expect(await quay.offer(peerCommand(quay.key, status()), 'commands')).toEqual({ is: 'acknowledged' });
    await allow('version: 1\ninstances: nonsense\n');
    expect(await quay.offer(peerCommand(quay.key, status()), 'commands')).toMatchObject({ code: 'internal' });
    await rm(join(hub.stateDirectory, 'routing.yaml'));
    expect(await quay.offer(peerCommand(quay.key, status()), 'commands')).toMatchObject({ code: 'policy-peer' });
    await allow();
  });
});

/** The federation's spokes at a hub that was started again. */
async function restarted(next: TestFederation['hub']): Promise<{ quay: TestSpoke }> {
  hub = next;
  Object.assign(federation, { hub: next });
  for (const each of [harbor, quay]) {
    Object.assign(each, { hub: next });
    await each.connect();
  }
  return { quay };
}

describe('an operator’s command', () => {
  test(
    'is routed as it was signed, and answered to whoever brought it',
    proves('FED-13', async () => {
      const agentId = newId();
      const spawn = operatorCommand(alice, soundSpawn(agentId));
      const { status: code, body } = await postCommand(hub, spawn);
      expect([code, body]).toEqual([202, expect.objectContaining({ agentId, instance: 'harbor' })]);
      const order = await arrived(spawn);
      expect(order).toMatchObject({ lane: 'commands', command: { header: { issuer: 'op-alice' } } });
      await harbor.offer(harbor.receipt(order, { case: 'spawned', value: snapshot(agentId, AgentState.QUEUED, 1n) }));
      expect(await federation.command(body.commandId)).toMatchObject({
        receipts: [{ kind: 'spawned', verified: true }],
      });
    }),
  );

  test('to kill is routed whatever the policy says', async () => {
    await allow('version: 1\noperators: []\n');
    const kill = operatorCommand(alice, { case: 'kill', value: { agentId: newId() } });
    expect((await postCommand(hub, kill)).status).toBe(202);
    expect((await arrived(kill)).lane).toBe('kill');
    expect((await postCommand(hub, operatorCommand(alice, status()))).body.code).toBe('policy-peer');
    await allow();
  });

  test.each<[string, () => Envelope, string]>([
    ['of nobody that is known', () => operatorCommand(SigningKey.generate(), status()), 'key-unknown'],
    ['in another’s name', () => operatorCommand(alice, status(), { issuer: 'op-bob' }), 'wrong-issuer'],
    ['for the hub', () => operatorCommand(alice, status(), { audience: 'hub' }), 'wrong-audience'],
    ['of an instance', () => peerCommand(quay.key, status()), 'key-unknown'],
    [
      'in the direction of instances',
      () => operatorCommand(alice, status(), { direction: Direction.SPOKE_TO_SPOKE }),
      'wrong-direction',
    ],
  ])('%s is refused', async (_, make, code) => {
    expect((await postCommand(hub, make())).body.code).toBe(code);
  });

  test('is taken only with proof that its key is held, under a name that is free', async () => {
    expect((await addOperator(hub, SigningKey.generate(), 'op-bob', alice)).body.code).toBe('signature-invalid');
    expect((await addOperator(hub, SigningKey.generate())).body.code).toBe('enrollment-mismatch');
    expect((await addOperator(hub, alice, 'op-bob')).body.code).toBe('enrollment-mismatch');
    expect((await addOperator(hub, SigningKey.generate(), 'quay')).status).toBe(400);
    expect((await hub.get<{ id: string }[]>('operators')).body.map(({ id }) => id)).toEqual(['op-alice']);
  });

  test(
    'is dropped, and no other taken, once its key is revoked',
    proves('FED-13', async () => {
      const bob = SigningKey.generate();
      await addOperator(hub, bob, 'op-bob');
      await harbor.disconnect();
      const waiting = operatorCommand(bob, status(), { issuer: 'op-bob' });
      const { body } = await postCommand(hub, waiting);
      const revoked = await hub.request<{ revokedAt: string | null }>('DELETE', 'operators/op-bob');
      expect(revoked.body.revokedAt).not.toBeNull();
      expect(await federation.command(body.commandId)).toMatchObject({
        state: 'FAILED',
        refusal: { code: 'key-revoked' },
      });
      const later = operatorCommand(bob, { case: 'kill', value: { agentId: newId() } }, { issuer: 'op-bob' });
      expect((await postCommand(hub, later)).body.code).toBe('key-revoked');
      await harbor.connect();
    }),
  );
});

test(
  'what waits of an instance is dropped when that is revoked, and never offered again',
  proves(['FED-09', 'FED-12'], async () => {
    const wharf = await TestSpoke.connected(hub, 'wharf');
    await allow('version: 1\ninstances: [{ origin: wharf, verbs: [status], targets: ["*"], tenants: ["*"] }]\n');
    await harbor.disconnect();
    const waiting = peerCommand(wharf.key, status(), { issuer: 'wharf' });
    await wharf.offer(waiting, 'commands');
    const connections = await hub.get<{ id: string; instanceId: string }[]>('connections');
    const { id = '' } = connections.body.find(({ instanceId }) => instanceId === 'wharf') ?? {};
    expect((await hub.post(`connections/${id}/revoke`)).status).toBe(200);
    await harbor.connect();
    hub.app.get(Outbox, { strict: false }).sweep(Date.now(), performance.now() + 10_000);
    const digest = toHex(envelopeDigest(waiting));
    const [row] = await until('it was dropped', async () => {
      const rows = await sql(`SELECT refusal_code FROM commands WHERE encode(digest, 'hex') = '${digest}'`);
      return rows[0]?.['refusal_code'] === null ? undefined : rows;
    });
    expect(row).toEqual({ refusal_code: 'key-revoked' });
    expect(harbor.ordered.some(({ envelope }) => toHex(envelopeDigest(envelope)) === digest)).toBe(false);
    await wharf.disconnect();
    await allow();
  }),
);
