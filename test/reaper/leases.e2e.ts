import { saveTrust, keyRecord, KeyRing, openEnvelope, SigningKey } from '@capstan/identity';
import { create, decodeEnvelope, Direction, ObservationSchema, RegisterSchema } from '@capstan/protocol';
import { isGone, type PreparedSandbox } from '@capstan/sandbox';
import { join } from 'node:path';
import { LeasedReaper, type RenewalChange } from '../support/leased-reaper.js';
import { proves } from '../support/proves.js';
import { Sandboxes, until } from '../support/sandboxes.js';

jest.setTimeout(60_000);

/** Real time plays no part: the clocks are moved. */
const MINUTE = 60_000;
type Sandbox = PreparedSandbox & { agentId: string };

describe('leases', () => {
  let host: LeasedReaper;
  let sandboxes: Sandboxes;

  beforeEach(async () => {
    sandboxes = new Sandboxes();
    host = await LeasedReaper.started();
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
    await sandboxes[Symbol.asyncDispose]();
  });

  const register = (sandbox: Sandbox, killAfterMs: number) =>
    host.reaper.client.register(
      create(RegisterSchema, {
        agentId: sandbox.agentId,
        tenant: 'default',
        handle: sandbox.handle,
        killAfterMs: BigInt(killAfterMs),
      }),
    );

  async function running(killAfterMs: number): Promise<Sandbox> {
    const sandbox = await sandboxes.prepare();
    expect(await register(sandbox, killAfterMs)).toEqual({ ok: true });
    await sandbox.go();
    return sandbox;
  }

  async function died({ agentId, handle }: Sandbox): Promise<void> {
    await until(() => isGone(handle));
    const seen = await host.reaper.client.observe(agentId, 5000);
    expect(seen).toMatchObject({ outcome: 'killed', cause: 'lease-expired' });
  }

  /** Longer than several looks of the reaper at its clocks. */
  async function lives({ agentId, handle }: Sandbox): Promise<void> {
    expect((await host.reaper.client.observe(agentId, 800)).outcome).toBe('unconfirmed');
    expect(isGone(handle)).toBe(false);
  }

  it(
    'keep an agent alive as long as they are renewed, and no longer; one that needs none lives on',
    proves('ORC-L1', async () => {
      expect(await host.renew()).toBeUndefined();
      const [leased, kept] = [await running(MINUTE), await running(0)];
      host.move({ wallMs: 0.9 * MINUTE, bootMs: 0.9 * MINUTE });
      expect(await host.renew()).toBeUndefined();
      host.move({ wallMs: 0.9 * MINUTE, bootMs: 0.9 * MINUTE });
      await lives(leased);
      host.move({ wallMs: 0.2 * MINUTE, bootMs: 0.2 * MINUTE });
      await died(leased);
      await lives(kept);
    }),
  );

  it('leave a signed observation of the death that they bring', async () => {
    await host.renew();
    const leased = await running(MINUTE);
    host.move({ bootMs: 2 * MINUTE });
    await died(leased);
    const { publicKey } = await host.reaper.client.describe();
    const { observation } = await host.reaper.client.observe(leased.agentId, 1000);
    const { payload } = openEnvelope(decodeEnvelope(observation), ObservationSchema, {
      kind: 'observation',
      purpose: 'observe',
      keys: new KeyRing([keyRecord('harbor', publicKey, ['observe'])]),
      audience: 'harbor',
      direction: Direction.LOCAL,
      nowMs: Date.now(),
    });
    expect(payload).toMatchObject({ agentId: leased.agentId, pidNamespace: leased.handle.pidNamespace, outcome: 1 });
    expect(payload.commandDigest).toHaveLength(0);
  });

  it.each([
    ['the wall clock is set back, and time goes on', { wallMs: -60 * MINUTE }, { bootMs: 1.1 * MINUTE }],
    ['the wall clock is set forward', { wallMs: 60 * MINUTE }, {}],
    ['the host was suspended', { wallMs: 60 * MINUTE, bootMs: 60 * MINUTE }, {}],
    ['the host was suspended and its wall clock set back', { bootMs: 60 * MINUTE, wallMs: -60 * MINUTE }, {}],
  ])('are not lengthened where %s', (_, jump, then) =>
    proves('ORC-L1', async () => {
      await host.renew();
      const leased = await running(MINUTE);
      host.move(jump);
      host.move(then);
      await died(leased);
    })(),
  );

  it(
    'survive a restart of the reaper, which neither lengthens nor forgets them',
    proves('ORC-L1', async () => {
      const taken = host.renewal();
      expect(await host.reaper.client.renew(taken)).toMatchObject({ ok: true });
      const leased = await running(MINUTE);
      host.move({ wallMs: 0.6 * MINUTE, bootMs: 0.6 * MINUTE });
      await host.restart();
      await lives(leased);
      expect(await host.reaper.client.renew(taken)).toMatchObject({ ok: false });
      host.move({ wallMs: 0.6 * MINUTE, bootMs: 0.6 * MINUTE });
      await died(leased);
      await host.restart();
      expect(await host.reaper.client.observe(leased.agentId, 1000)).toMatchObject({ cause: 'lease-expired' });
    }),
  );

  it('that end while the reaper is down are carried out when it is back', async () => {
    await host.renew();
    const leased = await running(MINUTE);
    await host.reaper.stop('SIGKILL');
    host.move({ wallMs: 2 * MINUTE, bootMs: 2 * MINUTE });
    await host.reaper.start();
    await died(leased);
  });

  it('let nobody start by the word of a hub that was never heard, or is silent for too long', async () => {
    const sandbox = await sandboxes.prepare();
    expect(await register(sandbox, MINUTE)).toEqual({ ok: false, code: 'lease-expired' });
    await host.renew();
    host.move({ bootMs: 1.1 * MINUTE });
    expect(await register(sandbox, MINUTE)).toEqual({ ok: false, code: 'lease-expired' });
    expect(await register(sandbox, 2 * MINUTE)).toEqual({ ok: true });
  });

  it('do not come back for an agent that is overdue', async () => {
    await host.renew();
    const leased = await running(MINUTE);
    host.move({ bootMs: 1.1 * MINUTE });
    // In the same moment, before the next look at the clocks or after it: the death stands.
    await host.renew();
    await died(leased);
  });

  it('last no longer than the hub stands for them, whatever the spawn allows', async () => {
    await host.renew({ durationMs: BigInt(MINUTE) });
    const leased = await running(60 * MINUTE);
    host.move({ bootMs: 1.1 * MINUTE });
    await died(leased);
  });

  const stranger = SigningKey.generate();
  const past = (): number => Date.now() - 31_000;
  const refused: [string, () => RenewalChange, string][] = [
    ['has been taken before', () => ({ counter: 5n }), 'lease-older'],
    ['has a lower counter', () => ({ counter: 4n }), 'lease-older'],
    ['is of an older session', () => ({ sessionEpoch: 1n, counter: 99n }), 'lease-older'],
    ['is for another instance', () => ({ header: { audience: 'quay' } }), 'wrong-audience'],
    ['travels the other way', () => ({ header: { direction: Direction.SPOKE_TO_HUB } }), 'wrong-direction'],
    ['is signed by a stranger', () => ({ key: stranger }), 'key-unknown'],
    ['names another issuer', () => ({ header: { issuer: 'another' } }), 'wrong-issuer'],
    ['is signed as something else', () => ({ kind: 'command' }), 'payload-type-unknown'],
    ['was kept until it has expired', () => ({ header: { nowMs: past() } }), 'expired'],
    ['is of the future', () => ({ header: { nowMs: Date.now() + 60_000 } }), 'clock-skew'],
    ['could be kept for later', () => ({ header: { lifetimeMs: 3_600_000 } }), 'payload-malformed'],
    ['renews for no time', () => ({ durationMs: 0n }), 'payload-malformed'],
    ['has no counter', () => ({ counter: 0n }), 'payload-malformed'],
  ];

  it(
    'are renewed by the pinned hub alone, forwards, now and for this instance',
    proves('ORC-L1', async () => {
      expect(await host.renew({ sessionEpoch: 2n, counter: 5n })).toBeUndefined();
      const leased = await running(MINUTE);
      host.move({ bootMs: 0.9 * MINUTE });
      for (const [what, change, code] of refused) {
        const made = { sessionEpoch: 2n, counter: 50n, ...change() };
        expect([what, await host.renew(made)]).toEqual([what, code]);
      }
      const bytes = host.renewal({ sessionEpoch: 2n, counter: 50n });
      const forged = Uint8Array.from(bytes, (byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte));
      expect(await host.reaper.client.renew(forged)).toEqual({ ok: false, code: 'signature-invalid' });
      expect(await host.reaper.client.renew(bytes.subarray(1))).toMatchObject({ ok: false });
      // None of them has lengthened anything.
      host.move({ bootMs: 0.2 * MINUTE });
      await died(leased);
    }),
  );

  it(
    "are renewed by the hub that the reaper has pinned, whatever is written into the spoke's trust file",
    proves('ORC-L1', async () => {
      const all = keyRecord('hub', stranger.publicKey, ['link', 'command', 'lease']);
      await saveTrust(join(host.reaper.directory, 'trust.json'), new KeyRing([all]));
      await host.restart();
      expect(await host.renew({ key: stranger })).toBe('key-unknown');
      expect(await host.renew()).toBeUndefined();
    }),
  );
});
