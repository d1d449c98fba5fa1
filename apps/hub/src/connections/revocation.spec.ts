import { handshakePae } from '@capstan/identity';
import { AgentState } from '@capstan/protocol';
import { TestFederation } from '../../test/test-federation.js';
import { TestHub } from '../../test/test-hub.js';
import { codeOfEnd, readInvite, snapshot, TestSpoke } from '../../test/test-spoke.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import type { ConnectionView } from './connection.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let federation: TestFederation;
let hub: TestFederation['hub'];

beforeEach(async () => {
  federation = await TestFederation.start();
  ({ hub } = federation);
});

afterEach(() => federation[Symbol.asyncDispose]());

async function idOf({ instanceId }: TestSpoke): Promise<string> {
  const { body } = await hub.get<ConnectionView[]>('connections');
  return body.findLast((each) => each.instanceId === instanceId)?.id ?? '';
}

const revoke = async (spoke: TestSpoke) => hub.post<ConnectionView>(`connections/${await idOf(spoke)}/revoke`);

async function invitation() {
  const { body } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
  return readInvite(body.invite);
}

test(
  'from the order to the closed socket and the refused reconnect it waits for no heartbeat',
  proves('FED-12', async () => {
    const { spoke } = federation;
    const link = spoke.link;
    const id = await idOf(spoke);
    const orderedAt = performance.now();
    const answered = hub.post<ConnectionView>(`connections/${id}/revoke`, { reason: 'stolen' });
    expect(await codeOfEnd(link)).toBe('key-revoked');
    // It dials again by itself, after 20 ms.
    await until('it is refused', () => spoke.refusals.includes('key-revoked'));
    // Less than a heartbeat: nothing waits for one. The time itself is a figure of the bench.
    expect(performance.now() - orderedAt).toBeLessThan(4_000);
    const { body } = await answered;
    expect(body).toMatchObject({ state: 'REVOKED', online: false });
    expect(body.keys.every(({ revokedAt }) => revokedAt !== null)).toBe(true);
  }),
);

test(
  'what waited for it is failed, and nothing more can be ordered of it',
  proves('FED-12', async () => {
    const { spoke } = federation;
    await spoke.disconnect();
    const { body } = await hub.post<{ commandId: string }>('agents/spawn', federation.spawnBody());
    const waiting = federation.command(body.commandId, 10_000);
    await revoke(spoke);
    expect(await waiting).toMatchObject({ state: 'FAILED', refusal: { code: 'key-revoked' } });
    for (const path of ['agents/spawn', 'agents/a/kill'])
      expect(
        await hub.post(path, path.endsWith('spawn') ? federation.spawnBody() : { instance: 'harbor' }),
      ).toMatchObject({
        status: 409,
        body: { code: 'connection-not-active' },
      });
  }),
);

test(
  'its name and its keys never enrol again',
  proves(['FED-02', 'FED-12'], async () => {
    const { spoke } = federation;
    await revoke(spoke);
    await spoke.disconnect();
    const refused = { status: 409, body: { code: 'enrollment-mismatch' } };
    expect(await spoke.redeem(await invitation())).toMatchObject(refused);
    expect(await new TestSpoke(hub, 'harbor').redeem(await invitation())).toMatchObject(refused);
    const renamed = new TestSpoke(hub, 'renamed');
    expect(await renamed.redeem(await invitation(), {}, spoke.key)).toMatchObject(refused);
    const { publicKey: reaperKey } = spoke.reaper;
    const label = 'capstan.v1.reaper-endorse';
    const reaperSignature = spoke.reaper.sign(handshakePae(label, Buffer.from('renamed'), renamed.key.publicKey));
    expect(await renamed.redeem(await invitation(), { reaperKey, reaperSignature })).toMatchObject(refused);
    await expect(spoke.connect()).rejects.toThrow('key-revoked');
  }),
);

test(
  'what its key signed is believed no longer, from no socket',
  proves('FED-12', async () => {
    const { spoke, other } = federation;
    const event = spoke.event('agent-x', AgentState.RUNNING, 1n);
    await revoke(spoke);
    expect(await other.offer(event, 'events')).toMatchObject({ is: 'rejected' });
    expect(await spoke.postWish(spoke.wish('ACTIVE'))).toMatchObject({ body: { code: 'key-revoked' } });
  }),
);

test(
  'the revocation epoch grows by one, rides in Welcome and heartbeats, and stands on the disk of the hub',
  proves('FED-12', async () => {
    const { spoke, other } = federation;
    expect(other.link?.welcome.revocationEpoch).toBe(0n);
    await revoke(spoke);
    await other.disconnect();
    expect((await other.connect()).welcome.revocationEpoch).toBe(1n);
    await other.disconnect();
    await using later = await TestHub.start(hub.databaseUrl, hub.stateDirectory);
    await using late = await TestSpoke.connected(later, 'late');
    expect(late.link?.welcome.revocationEpoch).toBe(1n);
    const { body } = await later.get<ConnectionView[]>('connections');
    const revoked = body.find(({ instanceId }) => instanceId === 'harbor');
    expect(revoked?.keys.map(({ revokedAt }) => revokedAt === null)).toEqual([false, false]);
  }),
);

test(
  'a receipt that was stored before stays verified',
  proves('FED-12', async () => {
    const { spoke } = federation;
    const { commandId, agentId, order } = await federation.spawned();
    await spoke.offer(spoke.receipt(order, { case: 'spawned', value: snapshot(agentId, AgentState.QUEUED, 1n) }));
    await revoke(spoke);
    expect((await federation.command(commandId)).receipts).toMatchObject([{ kind: 'spawned', verified: true }]);
  }),
);
