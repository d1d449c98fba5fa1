import { once } from 'node:events';
import { keyRecord, SigningKey } from '@capstan/identity';
import { create, HelloSchema, ProofSchema, WireFault } from '@capstan/protocol';
import type { RawData, WebSocket } from 'ws';
import { proves } from '../../../test/support/proves.js';
import { linked, middleman, stranger, TestHub, until } from '../test/peers.js';
import { decodeFrame, encodeFrame } from './frames.js';
import { makeHello, makeProof } from './handshake.js';

async function nextFrame(ws: WebSocket): Promise<Buffer> {
  const [data] = (await once(ws, 'message')) as [RawData];
  return data as Buffer;
}

/** Sends a Hello as harbor and answers with both frames. */
async function greet(ws: WebSocket, key: SigningKey): Promise<{ hello: Uint8Array; challenge: Buffer }> {
  const hello = encodeFrame({ case: 'hello', value: makeHello({ instanceId: 'harbor', key, sessionEpoch: 0n }) });
  ws.send(hello);
  return { hello, challenge: await nextFrame(ws) };
}

describe('the handshake', () => {
  it(
    'proves both keys and tells session, epochs and times',
    proves('FED-04', async () => {
      await using hub = await TestHub.start();
      await using spoke = hub.spoke();
      const { hubEnd, spokeEnd } = await linked(hub, spoke);
      expect(hubEnd).toMatchObject({ peerId: 'harbor', peerKeyId: hub.spokeKey.keyId, version: 1, sessionEpoch: 1n });
      expect(spokeEnd).toMatchObject({ peerId: 'hub', peerKeyId: hub.hubKey.keyId, version: 1, sessionEpoch: 1n });
      expect(spokeEnd.welcome).toMatchObject({ revocationEpoch: 7n, heartbeatMs: 50, deadAfterMs: 400 });
      expect(spoke.sessionEpoch).toBe(1n);
    }),
  );

  it(
    'refuses a spoke that holds another key than the pinned one',
    proves('FED-04', async () => {
      await using hub = await TestHub.start();
      await using ws = await stranger(hub);
      const thief = SigningKey.generate();
      const { hello, challenge } = await greet(ws, hub.spokeKey);
      ws.send(encodeFrame({ case: 'proof', value: makeProof(thief, { hello }, challenge) }));
      expect(decodeFrame(await nextFrame(ws))).toMatchObject({
        case: 'farewell',
        value: { code: 'handshake-signature' },
      });
      expect(hub.refused).toEqual(['handshake-signature']);
      expect(hub.links).toEqual([]);
    }),
  );

  it(
    'refuses the hub’s own signature, reflected as a proof',
    proves('FED-04', async () => {
      await using hub = await TestHub.start();
      await using ws = await stranger(hub);
      const { challenge } = await greet(ws, hub.spokeKey);
      const frame = decodeFrame(challenge);
      if (frame.case !== 'challenge') throw new Error(frame.case);
      ws.send(encodeFrame({ case: 'proof', value: create(ProofSchema, { signature: frame.value.signature }) }));
      expect(decodeFrame(await nextFrame(ws))).toMatchObject({ value: { code: 'handshake-signature' } });
    }),
  );

  it(
    'refuses a proof that was recorded in an earlier session',
    proves('FED-04', async () => {
      await using hub = await TestHub.start();
      const recorded: Buffer[] = [];
      await using listener = await middleman(hub, (frame, from) => {
        if (from === 'spoke') recorded.push(frame);
        return frame;
      });
      await using spoke = hub.spoke({ url: listener.url });
      await linked(hub, spoke);
      const [hello, proof] = recorded;
      await using ws = await stranger(hub);
      ws.send(hello ?? '');
      await nextFrame(ws);
      ws.send(proof ?? '');
      expect(decodeFrame(await nextFrame(ws))).toMatchObject({ value: { code: 'handshake-signature' } });
    }),
  );

  it(
    'notices a list of versions that was changed on the way',
    proves('FED-04', async () => {
      await using hub = await TestHub.start();
      const said: string[] = [];
      await using attacker = await middleman(hub, (bytes, from) => {
        const frame = decodeFrame(bytes);
        if (from === 'spoke') said.push(frame.case);
        if (from === 'hub' || frame.case !== 'hello') return bytes;
        return encodeFrame({ case: 'hello', value: create(HelloSchema, { ...frame.value, versions: [1, 0] }) });
      });
      await using spoke = hub.spoke({ url: attacker.url });
      expect(await until(() => spoke.waits[0])).toContain('handshake-signature');
      // The spoke itself has noticed: it proves nothing to such a hub.
      expect(said).toContain('hello');
      expect(said).not.toContain('proof');
      expect(spoke.links).toEqual([]);
    }),
  );

  it('refuses a spoke that speaks no common version', async () => {
    await using hub = await TestHub.start();
    await using ws = await stranger(hub);
    const hello = makeHello({ instanceId: 'harbor', key: hub.spokeKey, sessionEpoch: 0n });
    ws.send(encodeFrame({ case: 'hello', value: create(HelloSchema, { ...hello, versions: [2, 3] }) }));
    expect(decodeFrame(await nextFrame(ws))).toMatchObject({ value: { code: 'handshake-version' } });
  });

  it(
    'lets the spoke refuse a hub whose key is not pinned',
    proves('FED-04', async () => {
      await using hub = await TestHub.start();
      await using impostor = await TestHub.start();
      impostor.spokeRecord = hub.spokeRecord;
      await using spoke = hub.spoke({ url: impostor.url });
      expect(await until(() => spoke.waits[0])).toContain('key-unknown');
      expect(spoke.links).toEqual([]);
      expect(impostor.links).toEqual([]);
    }),
  );

  it('lets the spoke refuse a hub that holds another key under the pinned key’s name', async () => {
    await using hub = await TestHub.start();
    await using attacker = await middleman(hub, (bytes, from) => {
      const frame = decodeFrame(bytes);
      if (from === 'spoke' || frame.case !== 'challenge') return bytes;
      return encodeFrame({ case: 'challenge', value: { ...frame.value, signature: new Uint8Array(64) } });
    });
    await using spoke = hub.spoke({ url: attacker.url });
    expect(await until(() => spoke.waits[0])).toContain('handshake-signature');
  });

  it('tells an unknown instance from a known one only after the proof', async () => {
    await using hub = await TestHub.start();
    hub.spokeRecord = undefined;
    await using ws = await stranger(hub);
    const { hello, challenge } = await greet(ws, hub.spokeKey);
    expect(decodeFrame(challenge).case).toBe('challenge');
    ws.send(encodeFrame({ case: 'proof', value: makeProof(hub.spokeKey, { hello }, challenge) }));
    expect(decodeFrame(await nextFrame(ws))).toMatchObject({ value: { code: 'key-unknown' } });
  });

  it.each([
    ['key-revoked', { revokedAt: 1 }],
    ['key-purpose', { purposes: ['receipt'] as const }],
    ['key-unknown', { owner: 'quay' }],
  ])('refuses with %s a pinned key that may not open a link', async (code, change) => {
    await using hub = await TestHub.start();
    hub.spokeRecord = { ...keyRecord('harbor', hub.spokeKey.publicKey, ['link']), ...change };
    await using spoke = hub.spoke();
    expect(await until(() => spoke.waits[0])).toContain(code);
    expect(hub.refused).toContain(code);
  });

  it('tells the peer a fault that the hub’s own look-up gives', async () => {
    await using hub = await TestHub.start({ findSpoke: () => Promise.reject(new WireFault('connection-not-active')) });
    await using spoke = hub.spoke();
    expect(await until(() => spoke.waits[0])).toContain('connection-not-active');
  });

  it('lets the spoke refuse a session epoch that goes back', async () => {
    await using hub = await TestHub.start();
    const sessionEpoch = { load: () => Promise.resolve(41n), save: () => Promise.resolve() };
    await using spoke = hub.spoke({ sessionEpoch });
    expect(await until(() => spoke.waits[0])).toContain('sequence-gap');
    hub.sessionEpoch = 41n;
    expect((await until(() => spoke.links[0])).sessionEpoch).toBe(42n);
  });
});
