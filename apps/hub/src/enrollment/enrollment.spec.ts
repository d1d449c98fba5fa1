import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyRing, keyRecord, openEnvelope, SigningKey } from '@capstan/identity';
import { decodeEnvelope, Direction, EnrolledSchema, fromBase64, fromHex } from '@capstan/protocol';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { proves } from '../../../../test/support/proves.js';
import { TestHub } from '../../test/test-hub.js';
import { type InviteContent, readInvite, TestSpoke } from '../../test/test-spoke.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;
let hub: TestHub;

beforeAll(async () => {
  postgres = await startTestPostgres();
  hub = await TestHub.start(await postgres.freshDatabase());
});

afterAll(async () => {
  await hub[Symbol.asyncDispose]();
  await postgres.stop();
});

async function invitation(options: object = {}): Promise<InviteContent> {
  const { status, body } = await hub.post<{ invite: string }>('enrollments', options);
  expect(status).toBe(201);
  return readInvite(body.invite);
}

test(
  'a hub has an Ed25519 identity in a file of its owner only, and publishes it',
  proves('FED-01', async () => {
    const file = await stat(join(hub.stateDirectory, 'identity.key'));
    expect(file.mode & 0o777).toBe(0o600);
    const { status, body } = await hub.request('GET', 'instance', undefined, {});
    expect(status).toBe(200);
    expect(body).toEqual({
      id: 'hub',
      displayName: 'Test hub',
      kind: 'hub',
      keys: [
        {
          keyId: expect.stringMatching(/^k-/) as string,
          publicKey: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
          purposes: ['link', 'command', 'admit', 'lease'],
          epoch: 1,
        },
      ],
      capabilities: expect.arrayContaining(['agent.spawn', 'agent.status', 'agent.kill']) as string[],
      protocolVersions: [1],
    });
  }),
);

test(
  'an instance enrols with an invitation, waits for the admin, and may connect only then',
  proves('FED-02', async () => {
    const invite = await invitation();
    await using spoke = new TestSpoke(hub, 'harbor');
    expect(invite).toMatchObject({ url: hub.url, hubId: 'hub' });
    const { status, body } = await spoke.redeem(invite);
    expect(status).toBe(200);
    // The answer is signed by the key that the invitation pins.
    const keys = new KeyRing([keyRecord('hub', fromHex(invite.hubKey), ['command'])]);
    const { payload } = openEnvelope(decodeEnvelope(fromBase64(body.enrolled)), EnrolledSchema, {
      kind: 'enrolled',
      purpose: 'command',
      keys,
      audience: 'harbor',
      direction: Direction.HUB_TO_SPOKE,
      nowMs: Date.now(),
    });
    expect(payload).toMatchObject({ instanceId: 'harbor', state: 'PENDING' });

    await expect(spoke.connect()).rejects.toThrow('connection-not-active');
    await spoke.disconnect();
    const { body: approved } = await hub.post(`connections/${payload.connectionId}/approve`);
    expect(approved).toMatchObject({ instanceId: 'harbor', state: 'ACTIVE', online: false });
    await spoke.connect();
    const { body: list } = await hub.get<{ instanceId: string; online: boolean }[]>('connections');
    expect(list.find((each) => each.instanceId === 'harbor')).toMatchObject({
      online: true,
      displayName: 'The harbor',
    });
  }),
);

test(
  'an invitation that approves by itself lets the instance in at once',
  proves('FED-02', async () => {
    await using spoke = await TestSpoke.connected(hub, 'quay');
    expect(spoke.link?.peerId).toBe('hub');
  }),
);

test(
  'an invitation is redeemed once; only the very same statement is answered again',
  proves('FED-02', async () => {
    const invite = await invitation();
    const spoke = new TestSpoke(hub, 'once');
    const statement = spoke.enrollment(invite);
    expect((await spoke.redeemEnvelope(invite, statement)).status).toBe(200);
    expect((await spoke.redeemEnvelope(invite, statement)).status).toBe(200);
    expect(await new TestSpoke(hub, 'twice').redeem(invite)).toMatchObject({
      status: 401,
      body: { code: 'enrollment-token' },
    });
    expect(await spoke.redeem(invite)).toMatchObject({ status: 401, body: { code: 'enrollment-token' } });
    const { body } = await hub.get<{ instanceId: string }[]>('connections');
    expect(body.filter(({ instanceId }) => instanceId === 'once')).toHaveLength(1);
    expect(body.some(({ instanceId }) => instanceId === 'twice')).toBe(false);
  }),
);

test(
  'of two that redeem one invitation at the same moment, one gets in',
  proves('FED-02', async () => {
    const invite = await invitation();
    const replies = await Promise.all(
      ['left', 'right', 'middle'].map((name) => new TestSpoke(hub, name).redeem(invite)),
    );
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 401, 401]);
  }),
);

test(
  'an invitation lives at most 15 minutes, and not a moment after its end',
  proves('FED-02', async () => {
    const { status, body } = await hub.post<{ errors: { field: string }[] }>('enrollments', { ttlSeconds: 901 });
    expect(status).toBe(400);
    expect(body.errors.map(({ field }) => field)).toEqual(['ttlSeconds']);
    const invite = await invitation({ ttlSeconds: 1 });
    const now = jest.spyOn(Date, 'now').mockReturnValue(Date.parse(invite.expiresAt));
    try {
      expect(await new TestSpoke(hub, 'late').redeem(invite)).toMatchObject({
        status: 410,
        body: { code: 'enrollment-expired' },
      });
    } finally {
      now.mockRestore();
    }
  }),
);

test(
  'keys that bind nobody are refused: small order, not canonical, torsion, another’s',
  proves('FED-02', async () => {
    const spoke = new TestSpoke(hub, 'weak');
    const smallOrder = fromHex('ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f');
    const notCanonical = fromHex(`eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f`);
    // Seven times the base point, and a point of order eight.
    const withTorsion = fromHex('e9b2fe981587efae6478f48ba1fa60cec6126d0e26dde72a0a24f640dcd783e5');
    for (const weak of [smallOrder, notCanonical, withTorsion, new Uint8Array(32), new Uint8Array(31)]) {
      const invite = await invitation();
      expect(await spoke.redeem(invite, { identityKey: weak })).toMatchObject({ body: { code: 'key-weak' } });
      expect(await spoke.redeem(invite, { reaperKey: weak })).toMatchObject({ body: { code: 'key-weak' } });
    }
  }),
);

test('possession of both keys is proven, and they are two', async () => {
  const spoke = new TestSpoke(hub, 'mine');
  const other = SigningKey.generate();
  const invite = await invitation();
  expect(await spoke.redeem(invite, { identityKey: other.publicKey })).toMatchObject({ body: { code: 'key-unknown' } });
  expect(await spoke.redeem(invite, { reaperKey: other.publicKey })).toMatchObject({
    body: { code: 'signature-invalid' },
  });
  expect(await spoke.redeem(invite, { reaperKey: spoke.key.publicKey })).toMatchObject({
    body: { code: 'key-purpose' },
  });
  const { body } = await hub.get<{ instanceId: string }[]>('connections');
  expect(body.some(({ instanceId }) => instanceId === 'mine')).toBe(false);
  // None of the failures has spent it.
  expect((await spoke.redeem(invite)).status).toBe(200);
});

test('a statement for another token, hub, time or name is refused', async () => {
  const spoke = new TestSpoke(hub, 'stray');
  const [invite, other] = [await invitation(), await invitation()];
  const forOther = spoke.enrollment(other);
  expect(await spoke.redeemEnvelope(invite, forOther)).toMatchObject({
    status: 409,
    body: { code: 'enrollment-mismatch' },
  });
  const elsewhere = spoke.enrollment({ ...invite, hubId: 'other-hub' });
  expect(await spoke.redeemEnvelope(invite, elsewhere)).toMatchObject({ body: { code: 'wrong-audience' } });
  expect(await spoke.redeem({ ...invite, secret: 'A'.repeat(43) })).toMatchObject({
    status: 401,
    body: { code: 'enrollment-token' },
  });
  expect(await new TestSpoke(hub, 'hub').redeem(invite)).toMatchObject({ body: { code: 'enrollment-mismatch' } });
  expect(await spoke.redeem(invite, { instanceId: 'Not_An_Id' })).toMatchObject({
    status: 400,
    body: { code: 'id-malformed' },
  });
});

test('the name and the keys of an instance stay its own', async () => {
  await using owner = await TestSpoke.connected(hub, 'owner');
  const thief = new TestSpoke(hub, 'owner');
  expect(await thief.redeem(await invitation())).toMatchObject({ status: 409, body: { code: 'enrollment-mismatch' } });
  // Another's key under a new name, even if its holder helps.
  const twin = new TestSpoke(hub, 'twin');
  expect(await twin.redeem(await invitation(), {}, owner.key)).toMatchObject({
    status: 409,
    body: { code: 'enrollment-mismatch' },
  });
});

test('malformed redemptions are named, and none is an error of the hub', async () => {
  const { secret } = await invitation();
  const redeem = (body: object) => hub.request('POST', 'enrollments/redeem', JSON.stringify(body), {});
  expect(await redeem({ secret: 'x', enrollment: 7, extra: 1 })).toMatchObject({
    status: 400,
    body: {
      code: 'validation',
      errors: expect.arrayContaining([{ field: 'extra', message: expect.any(String) as string }]) as unknown,
    },
  });
  expect(await redeem({ secret, enrollment: '%%%' })).toMatchObject({ status: 400, body: { code: 'validation' } });
  expect(await redeem({ secret, enrollment: 'AAAA' })).toMatchObject({
    status: 400,
    body: { code: 'envelope-malformed' },
  });
  expect(await redeem({ secret, enrollment: 'A'.repeat(40_000) })).toMatchObject({ status: 400 });
});

test('an address that fails too often is told to wait, before any work is done for it', async () => {
  const redeem = () =>
    hub.request('POST', 'enrollments/redeem', JSON.stringify({ secret: 'A'.repeat(43), enrollment: 'AAAA' }), {});
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 61; attempt++) statuses.push((await redeem()).status);
  expect(statuses).toContain(401);
  expect(statuses.at(-1)).toBe(429);
});
