import { join } from 'node:path';
import { makeHeader, signPayload, type SigningKey } from '@capstan/identity';
import type { LinkPeer } from '@capstan/link';
import { ReaperClient } from '@capstan/platform';
import { create, Direction, encodeEnvelope, LeaseRenewalSchema, toBinary } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { Sandboxes } from '../../../../test/support/sandboxes.js';
import { until } from '../../test/processes.js';
import { TestInstance } from '../../test/test-instance.js';

jest.setTimeout(60_000);

let counter = 0n;

function renewal(key: SigningKey, { sessionEpoch }: LinkPeer): Uint8Array {
  const direction = Direction.HUB_TO_SPOKE;
  const header = makeHeader({ issuer: 'hub', audience: 'harbor', direction, lifetimeMs: 30_000 });
  counter += 1n;
  const payload = create(LeaseRenewalSchema, { header, sessionEpoch, counter, durationMs: 60_000n });
  return encodeEnvelope(signPayload(key, 'lease', toBinary(LeaseRenewalSchema, payload)));
}

describe('renewals of leases', () => {
  let instance: TestInstance;
  beforeAll(async () => (instance = await TestInstance.start()));
  afterAll(() => instance[Symbol.asyncDispose]());

  it(
    'go from the heartbeats to the reaper as the hub signed them',
    proves('ORC-L1', async () => {
      const { hub, dir } = instance;
      await using sandboxes = new Sandboxes();
      const { agentId, handle } = await sandboxes.prepare();
      const reaper = new ReaperClient(join(dir, 'run', 'reaper.sock'));
      const register = () => reaper.register({ agentId, tenant: 'default', handle, killAfterMs: 60_000n });
      expect(await register()).toEqual({ ok: false, code: 'lease-expired' });
      hub.leaseRenewal = (peer) => renewal(hub.key, peer);
      // Only by a renewal that it has itself verified does the reaper let such an agent start.
      await until(async () => (await register()).ok, 'the reaper to have a renewal');
      reaper.close();
    }),
  );
});
