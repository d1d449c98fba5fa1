import {
  keyRecord,
  KeyRing,
  makeHeader,
  makeKeyStatement,
  pinSuccessor,
  SigningKey,
  verifyKeyStatement,
} from '@capstan/identity';
import type { AuditEntryView } from '../audit/audit.service.js';
import { AgentState, Direction, encodeEnvelope, fromHex, toBase64, type Envelope } from '@capstan/protocol';
import { TestFederation } from '../../test/test-federation.js';
import { codeOfEnd, readInvite, snapshot, TestSpoke } from '../../test/test-spoke.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import type { ConnectionView } from '../connections/connection.js';
import { HUB_PURPOSES } from '../identity/hub-identity.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let federation: TestFederation;
let hub: TestFederation['hub'];
let spoke: TestSpoke;

beforeEach(async () => {
  federation = await TestFederation.start();
  ({ hub, spoke } = federation);
});

afterEach(() => federation[Symbol.asyncDispose]());

const newKey = SigningKey.generate();
type Change = Partial<Parameters<typeof makeKeyStatement>[0]>;

function statement(change: Change = {}, of: TestSpoke = spoke): Envelope {
  return makeKeyStatement({
    old: keyRecord(of.instanceId, of.key.publicKey, ['link', 'receipt', 'command']),
    key: newKey,
    by: of.key,
    hubId: 'hub',
    direction: Direction.SPOKE_TO_HUB,
    oldUntilMs: Date.now() + 60_000,
    ...change,
  });
}

async function connection(instance = 'harbor'): Promise<ConnectionView | undefined> {
  return (await hub.get<ConnectionView[]>('connections')).body.find(({ instanceId }) => instanceId === instance);
}

async function audited(kind: string): Promise<unknown[]> {
  const { body } = await hub.get<{ entries: AuditEntryView[] }>('/api/v1/audit?limit=500');
  return body.entries
    .map(({ record }) => JSON.parse(record) as { kind: string })
    .filter((entry) => entry.kind === kind);
}

describe('an instance that replaces its key', () => {
  test(
    'is believed with both until the old one ends, and then with the new one only',
    proves('FED-11', async () => {
      const { agentId, order } = await federation.spawned();
      const change = statement({ oldUntilMs: Date.now() + 2_000 });
      expect(await spoke.offer(change, 'control')).toEqual({ is: 'acknowledged' });
      // Once more, as after an acknowledgement that was lost.
      expect(await spoke.offer(change, 'control')).toEqual({ is: 'acknowledged' });
      expect(await audited('key.replaced')).toHaveLength(1);
      const spawned = { case: 'spawned' as const, value: snapshot(agentId, AgentState.RUNNING, 1n) };
      expect(await spoke.offer(spoke.receipt(order, spawned))).toEqual({ is: 'acknowledged' });
      expect(await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 2n, newKey))).toEqual({ is: 'acknowledged' });
      const link = spoke.link;
      expect(await codeOfEnd(link)).toBe('key-revoked');
      await until('the old key is refused', () => spoke.refusals.includes('key-revoked'));
      await spoke.disconnect();
      await spoke.connect(newKey);
      expect(await connection()).toMatchObject({ online: true });
      const late = spoke.event(agentId, AgentState.RUNNING, 3n);
      expect(await spoke.offer(late)).toMatchObject({ is: 'rejected', code: 'key-revoked' });
      expect(await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 3n, newKey))).toEqual({ is: 'acknowledged' });
    }),
  );

  test(
    'is known by it after a restart of the hub, old receipts and all',
    proves('FED-11', async () => {
      expect(await spoke.offer(statement(), 'control')).toEqual({ is: 'acknowledged' });
      await spoke.disconnect();
      await federation.other.disconnect();
      await hub.stop();
      const next = await hub.successor();
      Object.assign(federation, { hub: next });
      {
        const { body } = await next.get<ConnectionView[]>('connections');
        const keys = body.find(({ instanceId }) => instanceId === 'harbor')?.keys.map(({ keyId }) => keyId);
        expect(keys).toEqual([newKey.keyId, spoke.key.keyId, spoke.reaper.keyId]);
        const { body: statements } = await next.get<{ newKeyId: string }[]>('key-statements');
        expect(statements).toMatchObject([{ oldKeyId: spoke.key.keyId, newKeyId: newKey.keyId }]);
      }
    }),
  );

  test.each<[string, () => Envelope, string]>([
    ['by itself alone', () => statement({ by: newKey }), 'key-statement'],
    ['of another instance', () => statement({}, federation.other), 'key-unknown'],
    [
      'for its reaper',
      () => statement({ old: keyRecord('harbor', spoke.reaper.publicKey, ['observe']), by: spoke.reaper }),
      'key-unknown',
    ],
    ['by its own reaper’s key', () => statement({ key: spoke.reaper }), 'key-statement'],
    ['by a key of another', () => statement({ key: federation.other.key }), 'key-statement'],
    [
      'with more purposes',
      () => statement({ old: keyRecord('harbor', spoke.key.publicKey, ['link', 'receipt', 'command', 'admit']) }),
      'key-statement',
    ],
    [
      'whose time is over',
      () => statement({ nowMs: Date.now() - 10_000, lifetimeMs: 5_000, oldUntilMs: 0 }),
      'expired',
    ],
  ])('is not believed when it is replaced %s', async (_what, make, code) => {
    expect(await spoke.offer(make(), 'control')).toMatchObject({ is: 'rejected', code });
    expect((await connection())?.keys.map(({ keyId }) => keyId)).toEqual([spoke.key.keyId, spoke.reaper.keyId]);
    expect(await audited('key.replaced')).toEqual([]);
  });

  test(
    'is refused where a header is of another key epoch than its key, receipts and events alike',
    proves('FED-11', async () => {
      const { agentId, order } = await federation.spawned();
      expect(await spoke.offer(statement(), 'control')).toEqual({ is: 'acknowledged' });
      const header = (keyEpoch: number) =>
        makeHeader({ issuer: 'harbor', audience: 'hub', direction: Direction.SPOKE_TO_HUB, keyEpoch });
      const spawned = { case: 'spawned' as const, value: snapshot(agentId, AgentState.RUNNING, 1n) };
      const refused = { is: 'rejected', code: 'key-revoked', retryable: false };
      for (const [key, keyEpoch] of [
        [spoke.key, 2],
        [newKey, 1],
        [newKey, 3],
      ] as const) {
        expect(await spoke.offer(spoke.receipt(order, spawned, { header: header(keyEpoch) }, key))).toMatchObject(
          refused,
        );
        const wish = spoke.wish('SUSPENDED', { keyEpoch }, key);
        expect(await spoke.offer(wish, 'events')).toMatchObject(refused);
      }
      for (const key of [spoke.key, newKey])
        expect(await spoke.offer(spoke.receipt(order, spawned, {}, key))).toEqual({ is: 'acknowledged' });
    }),
  );

  test(
    'that signs for a second key in the place of one is refused loudly: audited once, and nothing changes',
    proves('FED-11', async () => {
      expect(await spoke.offer(statement(), 'control')).toEqual({ is: 'acknowledged' });
      for (let each = 0; each < 2; each++) {
        const fork = statement({ key: SigningKey.generate() });
        expect(await spoke.offer(fork, 'control')).toMatchObject({ is: 'rejected', code: 'key-fork' });
      }
      expect(await audited('key.forked')).toMatchObject([
        { detail: { instance: 'harbor', oldKey: spoke.key.keyId, believed: newKey.keyId } },
      ]);
      // Nor back to the first, nor from it once more.
      const second = { ...keyRecord('harbor', newKey.publicKey, ['link', 'receipt', 'command']), epoch: 2 };
      const back = statement({ old: second, key: spoke.key, by: newKey });
      expect(await spoke.offer(back, 'control')).toMatchObject({ is: 'rejected', code: 'key-statement' });
      const again = statement({ oldUntilMs: Date.now() + 50_000 });
      expect(await spoke.offer(again, 'control')).toMatchObject({ is: 'rejected', code: 'key-statement' });
      const keys = (await connection())?.keys.map(({ keyId }) => keyId);
      expect(keys).toEqual([newKey.keyId, spoke.key.keyId, spoke.reaper.keyId]);
    }),
  );

  test('does not enrol again with a key that it has replaced', async () => {
    expect(await spoke.offer(statement(), 'control')).toEqual({ is: 'acknowledged' });
    await hub.post(`connections/${(await connection())?.id ?? ''}/disconnect`);
    const { body } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
    expect((await spoke.redeem(readInvite(body.invite))).body.code).toBe('enrollment-mismatch');
  });
});

describe('an instance whose key is lost', () => {
  const root = SigningKey.generate();
  const post = (envelope: Envelope) =>
    hub.request<{ code: string; instance: string }>(
      'POST',
      'key-statements',
      JSON.stringify({ statement: toBase64(encodeEnvelope(envelope)) }),
      {},
    );

  async function enrolled(overrides: object): Promise<TestSpoke> {
    const instance = new TestSpoke(hub, 'pier');
    const { body } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
    expect((await instance.redeem(readInvite(body.invite), overrides)).status).toBe(200);
    return instance;
  }

  test(
    'comes back by its owner’s root key, and the lost key is revoked at once',
    proves('FED-11', async () => {
      await using pier = await enrolled({ rootKey: root.publicKey });
      await pier.connect();
      const stolen = pier.link;
      const { status, body } = await post(statement({ by: root, oldUntilMs: 0 }, pier));
      expect({ status, body }).toEqual({ status: 200, body: { instance: 'pier' } });
      expect(await codeOfEnd(stolen)).toBe('key-revoked');
      const old = (await connection('pier'))?.keys.find(({ keyId }) => keyId === pier.key.keyId);
      expect(old?.revokedAt).not.toBeNull();
      await pier.disconnect();
      await pier.connect(newKey);
      await until('the revocation epoch is told', () =>
        pier.heard.some(({ revocationEpoch }) => revocationEpoch === 1n),
      );
      expect(await audited('key.replaced')).toMatchObject([{ detail: { by: 'root-key', revocationEpoch: '1' } }]);
    }),
  );

  test(
    'comes back also where a thief has put a key of his own there first, and once only',
    proves('FED-11', async () => {
      await using pier = await enrolled({ rootKey: root.publicKey });
      const thief = SigningKey.generate();
      expect((await post(statement({ key: thief }, pier))).status).toBe(200);
      await pier.connect(thief);
      const stolen = pier.link;
      const recovery = statement({ by: root, oldUntilMs: 0 }, pier);
      expect((await post(recovery)).status).toBe(200);
      expect(await codeOfEnd(stolen)).toBe('key-revoked');
      // As where the answer was lost: the same statement, and one that says the same.
      for (const again of [recovery, statement({ by: root, oldUntilMs: 0 }, pier)])
        expect((await post(again)).status).toBe(200);
      expect((await connection('pier'))?.keys.map(({ keyId }) => keyId)).toEqual([
        newKey.keyId,
        pier.key.keyId,
        pier.reaper.keyId,
      ]);
      const another = statement({ key: SigningKey.generate(), by: root, oldUntilMs: 0 }, pier);
      expect((await post(another)).body.code).toBe('key-fork');
      await pier.disconnect();
      await pier.connect(newKey);
      expect(await connection('pier')).toMatchObject({ online: true });
    }),
  );

  test('does not come back by another key than the pinned root, or where none was pinned', async () => {
    const pier = await enrolled({ rootKey: root.publicKey });
    const forged = statement({ by: SigningKey.generate(), oldUntilMs: 0 }, pier);
    expect((await post(forged)).body.code).toBe('key-statement');
    expect((await post(statement({ by: root, oldUntilMs: 0 }))).body.code).toBe('key-statement');
    expect((await connection('pier'))?.keys.map(({ keyId }) => keyId)).toEqual([pier.key.keyId, pier.reaper.keyId]);
  });

  test('does not come back after the hub has revoked it', async () => {
    const pier = await enrolled({ rootKey: root.publicKey });
    await hub.post(`connections/${(await connection('pier'))?.id ?? ''}/revoke`);
    expect((await post(statement({ by: root, oldUntilMs: 0 }, pier))).body.code).toBe('key-revoked');
  });

  test('names no key of its own as the root', async () => {
    const pier = new TestSpoke(hub, 'pier');
    const { body } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
    const refused = await pier.redeem(readInvite(body.invite), { rootKey: pier.reaper.publicKey });
    expect(refused.body.code).toBe('key-purpose');
  });
});

describe('a hub that replaces its key', () => {
  /** What a spoke believes of the hub, as it was before anything changed. */
  async function pinned(): Promise<KeyRing> {
    const { body } = await hub.get<{ keys: { publicKey: string }[] }>('instance');
    return new KeyRing([keyRecord('hub', fromHex(body.keys.at(-1)?.publicKey ?? ''), HUB_PURPOSES)]);
  }

  function believe(keys: KeyRing, envelope: Envelope): void {
    const want = { keys, hubId: 'hub', direction: Direction.HUB_TO_SPOKE, nowMs: Date.now() };
    const { newKey: next, oldKey } = verifyKeyStatement(envelope, want);
    pinSuccessor(keys, next, oldKey);
  }

  const signer = (envelope: Envelope): string | undefined => envelope.signatures[0]?.keyId;

  test(
    'signs with it for an instance once that has said that it knows',
    proves('FED-11', async () => {
      const keys = await pinned();
      const { body } = await hub.post<{ keyId: string; oldKeyId: string }>('instance/rotate-key');
      const told = await until('the statement has come', () => spoke.statements[0]);
      const before = await federation.spawned();
      expect(signer(before.order.envelope)).toBe(body.oldKeyId);
      believe(keys, told);
      expect(keys.get(body.keyId)?.epoch).toBe(2);
      await spoke.acknowledge({ envelope: told });
      const after = await until('the hub signs with the new key', async () => {
        const { order } = await federation.spawned();
        return signer(order.envelope) === body.keyId ? order : undefined;
      });
      expect(after.command.header?.keyEpoch).toBe(2);
      const { body: document } = await hub.get<{ keys: { keyId: string }[] }>('instance');
      expect(document.keys.map(({ keyId }) => keyId)).toEqual([body.keyId, body.oldKeyId]);
    }),
  );

  test(
    'leads a spoke that was long away through every key it missed, before anything else',
    proves('FED-11', async () => {
      const keys = await pinned();
      await spoke.disconnect();
      const rotate = () => hub.post<{ keyId: string; oldUntil: string }>('instance/rotate-key', { overlapMs: 1_000 });
      await rotate();
      const { body: last } = await rotate();
      await until('the overlap is over', () => Date.now() > Date.parse(last.oldUntil));
      const { body } = await hub.post<{ commandId: string }>('agents/spawn', federation.spawnBody());
      await spoke.connect(spoke.key, keys);
      for (const at of [0, 1]) {
        const told = await until('a statement has come', () => spoke.statements[at]);
        expect(spoke.ordered).toEqual([]);
        believe(keys, told);
        await spoke.acknowledge({ envelope: told });
      }
      const order = await federation.orderOf(spoke, body.commandId);
      expect(signer(order.envelope)).toBe(last.keyId);
      expect(keys.get(last.keyId)?.epoch).toBe(3);
      // From now on it is greeted with the newest.
      await spoke.disconnect();
      await spoke.connect(spoke.key, keys);
      expect(spoke.statements).toHaveLength(2);
    }),
  );

  test(
    'has it after a restart, and gives up an instance that will not believe it',
    proves('FED-11', async () => {
      const keys = await pinned();
      const { body } = await hub.post<{ keyId: string }>('instance/rotate-key');
      const told = await until('the statement has come', () => spoke.statements[0]);
      await spoke.reject({ envelope: told } as never, 'key-statement', false);
      expect(await codeOfEnd(spoke.link)).toBe('key-statement');
      await spoke.disconnect();
      await federation.other.disconnect();
      await hub.stop();
      const next = await hub.successor();
      Object.assign(federation, { hub: next });
      {
        const { body: document } = await next.get<{ keys: { keyId: string }[] }>('instance');
        expect(document.keys[0]?.keyId).toBe(body.keyId);
        believe(keys, told);
        const again = new TestSpoke(next, 'harbor');
        await again.connect(spoke.key, keys);
        await again.disconnect();
      }
    }),
  );

  test('is joined by newcomers with the new key, also by an invitation from before', async () => {
    const { body: older } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
    await hub.post('instance/rotate-key');
    const pier = new TestSpoke(hub, 'pier');
    expect((await pier.redeem(readInvite(older.invite))).status).toBe(200);
    const { body: newer } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
    expect(readInvite(newer.invite)).toMatchObject({ hubKeyEpoch: 2 });
  });

  test('asks for an admin', async () => {
    expect((await hub.request('POST', 'instance/rotate-key', '{}', {})).status).toBe(401);
  });
});
