import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { envelopeDigest, signPayload, SigningKey } from '@capstan/identity';
import {
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  type Envelope,
  newId,
  toBinary,
  toHex,
} from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../test/processes.js';
import { POLICY, TestInstance } from '../../test/test-instance.js';

let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start();
}, 30_000);
afterAll(async () => {
  await instance?.[Symbol.asyncDispose]();
});

async function rejection(envelope: Envelope): Promise<{ code: string; retryable: boolean }> {
  const digest = await instance.hub.send(envelope);
  return until(() => instance.hub.rejected.find((each) => each.digest === digest), 'a rejection');
}

function agentOf(spawn: Envelope): string {
  const { body } = decodeStrict(CommandSchema, spawn.payload);
  if (body.case !== 'spawn') throw new Error('no spawn');
  return body.value.agentId;
}

describe('a spawn', () => {
  it(
    'is acknowledged, offered once, and answered with a signed receipt',
    proves('FED-08', async () => {
      const spawn = instance.spawn();
      const digest = await instance.hub.send(spawn);
      const spawned = await instance.receipt(spawn, 'spawned');
      expect(instance.hub.acknowledged).toContain(digest);
      expect(spawned).toMatchObject({ issuer: 'harbor', commandBound: true });
      expect(spawned.receipt.audit?.hash).toHaveLength(32);
      expect(instance.orchestrator.offered.filter((id) => id === agentOf(spawn))).toHaveLength(1);
    }),
  );

  it('gets a second receipt when its agent has ended, after the events that led there', async () => {
    const spawn = instance.spawn();
    await instance.hub.send(spawn);
    await instance.receipt(spawn, 'spawned');
    const agentId = agentOf(spawn);
    for (const state of ['spawning', 'running', 'completed'] as const) instance.orchestrator.change(agentId, { state });
    const finished = await instance.receipt(spawn, 'finished');
    expect(finished.receipt.result).toMatchObject({ case: 'finished', value: { agentId, revision: 4n } });
    const revisions = instance.hub.events.filter((event) => event.agentId === agentId).map(({ revision }) => revision);
    expect(revisions).toEqual([1n, 2n, 3n, 4n]);
  });

  it(
    'tells the hub, signed, that its agent has stalled, why, and what the owner makes of it; and that it goes on',
    proves('ORC-L5', async () => {
      const spawn = instance.spawn();
      await instance.hub.send(spawn);
      await instance.receipt(spawn, 'spawned');
      const agentId = agentOf(spawn);
      const at = new Date().toISOString();
      const notice = { agentId, at, stalled: true, silentMs: 60_001, reason: 'No line for 60 s.', action: 'notify' };
      instance.orchestrator.stall(notice);
      instance.orchestrator.stall({ ...notice, stalled: false, silentMs: 0, reason: '', action: 'none' });
      const told = (): typeof instance.hub.stalls => instance.hub.stalls.filter((stall) => stall.agentId === agentId);
      await until(() => told().length === 2);
      expect(told()).toMatchObject([
        { stalled: true, atMs: BigInt(Date.parse(at)), silentMs: 60_001n, reason: notice.reason, action: 'notify' },
        { stalled: false, silentMs: 0n, reason: '', action: 'none' },
      ]);
      // Whoever comes after it is told too.
      instance.orchestrator.change(agentId, { state: 'spawning' });
      await until(() => instance.hub.events.some((event) => event.agentId === agentId && event.revision === 2n));
    }),
  );

  it('with a name that another spawn has taken is refused', async () => {
    const first = instance.spawn();
    await instance.hub.send(first);
    await instance.receipt(first, 'spawned');
    const second = instance.spawn({ agentId: agentOf(first) });
    await instance.hub.send(second);
    const { receipt } = await instance.receipt(second, 'refused');
    expect(receipt.result).toMatchObject({ value: { code: 'agent-exists' } });
  });

  it('that the orchestrator refuses is refused, and its name is free again', async () => {
    instance.orchestrator.beforeSpawn = (response) => {
      response.writeHead(422, { 'content-type': 'application/problem+json' });
      response.end(JSON.stringify({ status: 422, code: 'repository-missing' }));
      return false;
    };
    const spawn = instance.spawn();
    await instance.hub.send(spawn);
    const { receipt } = await instance.receipt(spawn, 'refused');
    instance.orchestrator.beforeSpawn = () => true;
    expect(receipt.result).toMatchObject({ value: { code: 'repository-missing', retryable: false } });
    const again = instance.spawn({ agentId: agentOf(spawn) });
    await instance.hub.send(again);
    await instance.receipt(again, 'spawned');
  });
});

describe('the owner’s policy', () => {
  it.each([
    ['policy-runtime', { runtime: 'command' }],
    ['policy-repository', { context: { repository: '/etc' } }],
    ['policy-repository', { context: { repository: 'https://git.example/team/../other' } }],
    ['policy-sandbox', { options: { sandbox: 'none' } }],
    ['policy-budget', { options: { budgetMicroUsd: 1_000_001n } }],
    ['policy-timeout', { options: { timeoutMs: 3_600_001n } }],
  ])('refuses with %s, signed and for good: %j', (code, change) =>
    proves(['FED-15', 'FED-06'], async () => {
      const spawn = instance.spawn(change);
      const digest = await instance.hub.send(spawn);
      const { receipt } = await instance.receipt(spawn, 'refused');
      expect(receipt.result).toMatchObject({ case: 'refused', value: { code, retryable: false } });
      // The receipt says as much as an acknowledgement.
      expect(instance.hub.acknowledged).not.toContain(digest);
      expect(instance.orchestrator.offered).not.toContain(agentOf(spawn));
      await instance.hub.send(spawn);
      const [first, second] = await until(() => {
        const all = instance.hub.envelopesOf(spawn);
        return all.length >= 2 && all;
      });
      expect(toHex(envelopeDigest(second ?? spawn))).toBe(toHex(envelopeDigest(first ?? spawn)));
    })(),
  );

  it(
    'refuses another tenant',
    proves('FED-15', async () => {
      const spawn = instance.spawn({}, { tenant: 'stranger' });
      await instance.hub.send(spawn);
      expect((await instance.receipt(spawn, 'refused')).receipt.result).toMatchObject({
        value: { code: 'policy-tenant' },
      });
    }),
  );

  it(
    'holds from the next spawn on when the owner changes it, and allows nothing when it cannot be read',
    proves('FED-15', async () => {
      const file = join(instance.dir, 'policy.yaml');
      await writeFile(file, POLICY.replace('[claude]', '[other]'));
      const forbidden = instance.spawn();
      await instance.hub.send(forbidden);
      await instance.receipt(forbidden, 'refused');
      await writeFile(file, 'version: 2');
      expect(await rejection(instance.spawn())).toMatchObject({ code: 'internal', retryable: true });
      await writeFile(file, POLICY);
      const allowed = instance.spawn();
      await instance.hub.send(allowed);
      await instance.receipt(allowed, 'spawned');
    }),
  );

  it(
    'does not stand in the way of a kill',
    proves('FED-15', async () => {
      const file = join(instance.dir, 'policy.yaml');
      await writeFile(file, 'nothing is allowed');
      const kill = instance.hub.command({ case: 'kill', value: { agentId: `agent-${newId()}`, reason: '' } });
      await instance.hub.send(kill, 'kill');
      await instance.receipt(kill, 'killed');
      await writeFile(file, POLICY);
    }),
  );
});

describe('agent.status', () => {
  it('is answered from the orchestrator, signed', async () => {
    const spawn = instance.spawn();
    await instance.hub.send(spawn);
    await instance.receipt(spawn, 'spawned');
    const status = instance.hub.command({ case: 'status', value: { agentId: agentOf(spawn) } });
    await instance.hub.send(status);
    const { receipt } = await instance.receipt(status, 'status');
    expect(receipt.result).toMatchObject({ case: 'status', value: { agentId: agentOf(spawn), revision: 1n } });
  });

  it('of an unknown agent is refused', async () => {
    const status = instance.hub.command({ case: 'status', value: { agentId: 'nobody' } });
    await instance.hub.send(status);
    expect((await instance.receipt(status, 'refused')).receipt.result).toMatchObject({
      value: { code: 'agent-unknown' },
    });
  });
});

describe('a query for logs', () => {
  it('is answered with a page, bound to the query', async () => {
    const spawn = instance.spawn();
    await instance.hub.send(spawn);
    await instance.receipt(spawn, 'spawned');
    const query = instance.hub.query(agentOf(spawn));
    await instance.hub.send(query);
    const { receipt } = await instance.receipt(query, 'logs');
    expect(receipt.result).toMatchObject({ value: { lines: [{ sequence: 1n, text: 'hello' }], next: 1n } });
  });

  it('of an unknown agent is refused; of a wrong shape is rejected', async () => {
    const query = instance.hub.query('nobody');
    await instance.hub.send(query);
    expect((await instance.receipt(query, 'refused')).receipt.result).toMatchObject({
      value: { code: 'agent-unknown' },
    });
    expect(await rejection(instance.hub.query('nobody', { audience: 'quay' }))).toMatchObject({
      code: 'wrong-audience',
    });
  });
});

describe('a command is rejected before anything is kept', () => {
  const stranger = SigningKey.generate();
  const status = { case: 'status', value: { agentId: 'nobody' } } as const;
  const sign = (key: SigningKey, bytes: Uint8Array): Envelope => signPayload(key, 'command', bytes);
  const payload = (): Uint8Array => instance.hub.command(status).payload;

  it.each<[string, () => Envelope]>([
    ['key-unknown', () => sign(stranger, payload())],
    ['signature-invalid', () => ({ ...instance.hub.command(status), payload: payload() })],
    ['signature-missing', () => ({ ...instance.hub.command(status), signatures: [] })],
    [
      'payload-type-unknown',
      () => ({ ...instance.hub.command(status), payloadType: 'application/vnd.capstan.command.v2+protobuf' }),
    ],
    ['payload-type-unknown', () => signPayload(instance.hub.key, 'receipt', payload())],
    ['unknown-field', () => sign(instance.hub.key, Buffer.concat([payload(), Buffer.from([0xf8, 0x07, 0x01])]))],
    ['payload-malformed', () => sign(instance.hub.key, payload().subarray(0, -3))],
    [
      'payload-malformed',
      () => sign(instance.hub.key, toBinary(CommandSchema, create(CommandSchema, { header: instance.hub.header({}) }))),
    ],
    ['payload-malformed', () => instance.hub.command({ case: 'spawn', value: { agentId: 'a', taskId: 't' } })],
    ['id-malformed', () => instance.hub.command({ case: 'status', value: { agentId: '../etc' } })],
    ['wrong-audience', () => instance.hub.command(status, { audience: 'quay' })],
    ['wrong-direction', () => instance.hub.command(status, { direction: Direction.SPOKE_TO_HUB })],
    ['wrong-issuer', () => instance.hub.command(status, { issuer: 'another-hub' })],
    ['key-revoked', () => instance.hub.command(status, { keyEpoch: 0 })],
    ['expired', () => instance.hub.command(status, { nowMs: Date.now() - 61_000 })],
    ['clock-skew', () => instance.hub.command(status, { nowMs: Date.now() + 31_000 })],
  ])('%s', (code, make) =>
    proves('FED-06', async () => {
      const envelope = make();
      expect(await rejection(envelope)).toMatchObject({ code });
      expect(instance.hub.acknowledged).not.toContain(toHex(envelopeDigest(envelope)));
      expect(instance.hub.envelopesOf(envelope)).toEqual([]);
    })(),
  );

  it(
    'when its id was used for another command',
    proves('FED-07', async () => {
      const id = newId();
      const first = instance.hub.command(status, { id });
      await instance.hub.send(first);
      await instance.receipt(first, 'refused');
      const second = instance.hub.command({ case: 'status', value: { agentId: 'somebody' } }, { id });
      expect(await rejection(second)).toMatchObject({ code: 'replayed' });
    }),
  );
});
