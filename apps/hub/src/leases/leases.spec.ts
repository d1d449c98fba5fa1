import { keyRecord, KeyRing, openEnvelope } from '@capstan/identity';
import type { Heartbeats, Link } from '@capstan/link';
import {
  AgentState,
  decodeEnvelope,
  Direction,
  fromHex,
  LeaseRenewalSchema,
  type LeaseRenewal,
  LIMITS,
} from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestFederation } from '../../test/test-federation.js';
import { Leases } from './leases.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

/** On the way, and the reaper's part, as docs/reliability.md has them. */
const MARGIN_MS = 30_000 + 30_000 + 5_000;

let federation: TestFederation;

beforeAll(async () => {
  federation = await TestFederation.start();
});
afterAll(() => federation[Symbol.asyncDispose]());

/** Harbor's heartbeats from a new link on. */
async function heard(): Promise<{ link: Link; heartbeats: () => Heartbeats[] }> {
  const { spoke } = federation;
  await spoke.disconnect();
  const before = spoke.heard.length;
  return { link: await spoke.connect(), heartbeats: () => spoke.heard.slice(before) };
}

async function read({ leaseRenewal }: Heartbeats): Promise<LeaseRenewal> {
  const { body } = await federation.hub.get<{ keys: { publicKey: string }[] }>('instance');
  const keys = new KeyRing([keyRecord('hub', fromHex(body.keys[0]?.publicKey ?? ''), ['lease'])]);
  const direction = Direction.HUB_TO_SPOKE;
  const want = { kind: 'lease', purpose: 'lease', keys, audience: 'harbor', direction, nowMs: Date.now() } as const;
  return openEnvelope(decodeEnvelope(leaseRenewal ?? new Uint8Array()), LeaseRenewalSchema, want).payload;
}

const viewOf = async (agentId: string) =>
  (await federation.hub.get<{ leaseEndsAt: string | null }>(`agents/${agentId}`)).body;
const leases = () => federation.hub.app.get(Leases, { strict: false });

test(
  'each heartbeat to an active instance renews, for it alone, in its session, counting upwards, for a moment',
  proves('ORC-L1', async () => {
    const { link, heartbeats } = await heard();
    const [one, other] = await until('two heartbeats', () => heartbeats().length > 1 && heartbeats());
    const [first, second] = [one && (await read(one)), other && (await read(other))];
    expect(first).toMatchObject({ sessionEpoch: link.sessionEpoch, durationMs: 604_800_000n });
    expect(second?.counter).toBe((first?.counter ?? 0n) + 1n);
    const { header } = first ?? {};
    expect(Number((header?.expiresAtMs ?? 0n) - (header?.issuedAtMs ?? 0n))).toBe(LIMITS.renewalLifetimeMs);
  }),
);

test(
  'a suspended instance is not renewed',
  proves('ORC-L1', async () => {
    const { hub } = federation;
    const { body } = await hub.get<{ id: string; instanceId: string }[]>('connections');
    const id = body.find(({ instanceId }) => instanceId === 'harbor')?.id ?? '';
    expect((await hub.post(`connections/${id}/suspend`, { reason: 'maintenance' })).status).toBe(200);
    const { heartbeats } = await heard();
    const [first] = await until('a heartbeat', () => heartbeats().length > 0 && heartbeats());
    expect(first).not.toHaveProperty('leaseRenewal');
    expect((await hub.post(`connections/${id}/resume`)).status).toBe(200);
    await until('it is renewed again', () => heartbeats().some((it) => it.leaseRenewal !== undefined));
  }),
);

test(
  'an agent shows by when it is dead without us, as its spawn has it; one without any word about it gets five minutes',
  proves('ORC-L1', async () => {
    const { spoke } = federation;
    const plain = await federation.spawned();
    const short = await federation.spawned({ onHubLost: { killAfterMs: 60_000 } });
    expect(plain.order.command.body.value).toMatchObject({
      onHubLost: { action: { case: 'killAfterMs', value: 300_000n } },
    });
    const left = async (agentId: string): Promise<number> => {
      await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 3n), 'events');
      return Date.parse((await viewOf(agentId)).leaseEndsAt ?? '') - Date.now();
    };
    for (const [{ agentId }, killAfterMs] of [
      [plain, 300_000],
      [short, 60_000],
    ] as const) {
      const ms = await left(agentId);
      expect(ms).toBeLessThanOrEqual(killAfterMs + MARGIN_MS);
      expect(ms).toBeGreaterThan(killAfterMs + MARGIN_MS - 20_000);
    }
    // The instance's last agent is dead when the one that lives longest is.
    expect(leases().leasesEndAt('harbor')?.toISOString()).toBe((await viewOf(plain.agentId)).leaseEndsAt);
    await spoke.offer(spoke.event(plain.agentId, AgentState.FAILED, 4n), 'events');
    expect((await viewOf(plain.agentId)).leaseEndsAt).toBeNull();
    // An older report that comes late does not bring it back.
    await spoke.offer(spoke.event(plain.agentId, AgentState.RUNNING, 2n), 'events');
    expect(leases().leasesEndAt('harbor')?.toISOString()).toBe((await viewOf(short.agentId)).leaseEndsAt);
  }),
);

test('nobody can say by when agents are dead that were told to live on, or that their owner started', async () => {
  const { spoke, other } = federation;
  expect(leases().leasesEndAt('quay')).toBeInstanceOf(Date);
  await other.offer(other.event('an-agent-of-the-owner', AgentState.RUNNING, 1n), 'events');
  expect(leases().leasesEndAt('quay')).toBeNull();
  const { agentId } = await federation.spawned({ onHubLost: { keep: true } });
  await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 3n), 'events');
  expect((await viewOf(agentId)).leaseEndsAt).toBeNull();
  expect(leases().leasesEndAt('harbor')).toBeNull();
  await spoke.offer(spoke.event(agentId, AgentState.COMPLETED, 4n), 'events');
  expect(leases().leasesEndAt('harbor')).toBeInstanceOf(Date);
});

test('a lease that one late heartbeat would end is refused', async () => {
  const body = federation.spawnBody({ onHubLost: { killAfterMs: 9_999 } });
  expect(await federation.hub.post('agents/spawn', body)).toMatchObject({ status: 400 });
});

test('a hub that starts again remembers the terms, and counts from its own start', async () => {
  const { agentId } = await federation.spawned({ onHubLost: { killAfterMs: 60_000 } });
  await federation.spoke.offer(federation.spoke.event(agentId, AgentState.RUNNING, 3n), 'events');
  await federation.spoke.disconnect();
  await federation.other.disconnect();
  const { hub } = federation;
  await hub.stop();
  const next = await hub.successor();
  Object.assign(federation, { hub: next });
  const startedAt = Date.now();
  const end = next.app.get(Leases, { strict: false }).leaseEndsAt(agentId)?.getTime() ?? 0;
  expect(end - 60_000 - MARGIN_MS).toBeLessThanOrEqual(startedAt);
  expect(end - 60_000 - MARGIN_MS).toBeGreaterThan(startedAt - 15_000);
});
