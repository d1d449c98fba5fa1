import { once } from 'node:events';
import { create, HeartbeatSchema, KillEpochSchema, type MessageInitShape } from '@capstan/protocol';
import { proves } from '../../../test/support/proves.js';
import { envelopeMessage, linked, Path, TestHub, until } from '../test/peers.js';
import { reconnectDelayMs } from './backoff.js';
import { encodeFrame } from './frames.js';
import { makeHello, makeProof } from './handshake.js';
import { LINK_LIMITS } from './limits.js';
import type { Heartbeats, Link } from './link.js';
import { stranger } from '../test/peers.js';

/** A spoke of its own making: authenticated, and then free to send what it likes. */
async function hostileSpoke(hub: TestHub): Promise<{ ws: Awaited<ReturnType<typeof stranger>>; hubEnd: Link }> {
  const ws = await stranger(hub);
  const hello = encodeFrame({
    case: 'hello',
    value: makeHello({ instanceId: 'harbor', key: hub.spokeKey, sessionEpoch: 0n }),
  });
  ws.send(hello);
  const [challenge] = (await once(ws, 'message')) as [Buffer];
  ws.send(encodeFrame({ case: 'proof', value: makeProof(hub.spokeKey, { hello }, challenge) }));
  const hubEnd = await until(() => hub.links[0]);
  hubEnd.start();
  return { ws, hubEnd };
}

describe('a silent peer', () => {
  it(
    'is gone after 15 seconds unless told otherwise',
    proves('FED-04', async () => {
      await using hub = await TestHub.start({ limits: { ...LINK_LIMITS } });
      await using spoke = hub.spoke();
      const { spokeEnd } = await linked(hub, spoke);
      expect(spokeEnd.welcome).toMatchObject({ heartbeatMs: 5_000, deadAfterMs: 15_000 });
    }),
  );

  it(
    'is noticed on both sides when the path falls silent',
    proves('FED-04', async () => {
      await using hub = await TestHub.start();
      await using path = await Path.to(hub);
      await using spoke = hub.spoke({ url: path.url });
      const { hubEnd, spokeEnd } = await linked(hub, spoke);
      hubEnd.start();
      spokeEnd.start();
      await until(() => hubEnd.stats.framesIn >= 2 && spokeEnd.stats.framesIn >= 2);
      const frozen = performance.now();
      path.freeze();
      const ends = await Promise.all([hubEnd.closed, spokeEnd.closed]);
      expect(ends.map(({ code }) => code)).toEqual(['link-silent', 'link-silent']);
      expect(performance.now() - frozen).toBeLessThan(QUICK_DEAD + 4_000);
    }),
  );

  it('is noticed though it goes on beating, once it reads no more', async () => {
    await using hub = await TestHub.start();
    const { ws, hubEnd } = await hostileSpoke(hub);
    await using _stranger = ws;
    ws.pause();
    const beat = setInterval(() => ws.send(encodeFrame({ case: 'heartbeat', value: create(HeartbeatSchema) })), 50);
    void hubEnd.send('events', envelopeMessage(new Uint8Array(100_000))).catch(() => undefined);
    expect((await hubEnd.closed).code).toBe('link-silent');
    clearInterval(beat);
  });

  it('is not one that beats and has nothing to say', async () => {
    await using hub = await TestHub.start({ limits: { heartbeatMs: 20, deadAfterMs: 100 } });
    await using spoke = hub.spoke();
    const { hubEnd, spokeEnd } = await linked(hub, spoke);
    hubEnd.start();
    spokeEnd.start();
    await until(() => hubEnd.stats.framesIn >= 15 && spokeEnd.stats.framesIn >= 15);
    expect(spoke.links).toHaveLength(1);
  });
});

const QUICK_DEAD = 400;

describe('heartbeats', () => {
  it('carry the hub’s epochs of that moment', async () => {
    let revocationEpoch = 1n;
    const killEpochs = [create(KillEpochSchema, { scope: 'mesh', epoch: 4n })];
    await using hub = await TestHub.start({ heartbeat: () => ({ revocationEpoch, killEpochs }) });
    await using spoke = hub.spoke();
    const { hubEnd, spokeEnd } = await linked(hub, spoke);
    const heard: Heartbeats[] = [];
    spokeEnd.onHeartbeat = (heartbeat) => heard.push(heartbeat);
    hubEnd.start();
    spokeEnd.start();
    await until(() => heard.length >= 1);
    revocationEpoch = 2n;
    const last = await until(() => heard.find((heartbeat) => heartbeat.revocationEpoch === 2n));
    expect(last.killEpochs).toMatchObject(killEpochs);
    expect(Math.abs(last.sentAtMs - Date.now())).toBeLessThan(5_000);
  });
});

describe('a frame that cannot be parsed', () => {
  it.each([
    ['noise', Buffer.from('ffffffffff', 'hex'), 'frame-malformed'],
    [
      'a truncated chunk',
      encodeFrame({ case: 'heartbeat', value: create(HeartbeatSchema, { sentAtMs: 1n }) }).subarray(0, 3),
      'frame-malformed',
    ],
    ['an empty frame', Buffer.alloc(0), 'frame-malformed'],
    ['a handshake’s frame', encodeFrame({ case: 'hello', value: makeHelloLike() }), 'frame-malformed'],
    ['a frame above 64 KiB', Buffer.alloc(65_537), 'frame-too-large'],
    ['a heartbeat with a renewal above 8 KiB', heartbeat({ leaseRenewal: new Uint8Array(8_193) }), 'frame-too-large'],
    ['a heartbeat with a tree head above 8 KiB', heartbeat({ treeHead: new Uint8Array(8_193) }), 'frame-too-large'],
    ['text', 'text', 'frame-malformed'],
  ])('closes the link with a code and is counted: %s', async (_what, bytes, code) => {
    await using hub = await TestHub.start();
    const { ws, hubEnd } = await hostileSpoke(hub);
    await using _stranger = ws;
    ws.send(bytes);
    expect(await hubEnd.closed).toMatchObject({ code });
    expect(hubEnd.stats.faultyFrames).toBe(1);
    await expect(hubEnd.send('kill', envelopeMessage(new Uint8Array(1)))).rejects.toThrow(code);
  });

  it('does not disturb the links of others', async () => {
    await using hub = await TestHub.start();
    const { ws, hubEnd } = await hostileSpoke(hub);
    await using _stranger = ws;
    await using spoke = hub.spoke();
    const spokeEnd = await until(() => spoke.links[0]);
    ws.send('text');
    await hubEnd.closed;
    const other = await until(() => hub.links[1]);
    other.start();
    spokeEnd.start();
    await until(() => other.stats.framesIn >= 2);
  });
});

function heartbeat(content: MessageInitShape<typeof HeartbeatSchema>): Uint8Array {
  return encodeFrame({ case: 'heartbeat', value: create(HeartbeatSchema, content) });
}

function makeHelloLike(): ReturnType<typeof makeHello> {
  return {
    $typeName: 'capstan.v1.Hello',
    instanceId: 'harbor',
    keyId: '',
    nonce: new Uint8Array(32),
    versions: [1],
    sessionEpoch: 0n,
    hubKeyId: '',
  };
}

describe('a farewell', () => {
  it('tells the other side code and sentence, safe to print', async () => {
    await using hub = await TestHub.start();
    await using spoke = hub.spoke();
    const { hubEnd, spokeEnd } = await linked(hub, spoke);
    hubEnd.start();
    spokeEnd.start();
    await hubEnd.close('key-revoked', 'gone \u001b[31mnow');
    expect(await spokeEnd.closed).toEqual({ code: 'key-revoked', sentence: 'gone [31mnow' });
  });
});

describe('a spoke', () => {
  it(
    'returns by itself when its hub does, in a new session',
    proves('FED-04', async () => {
      const hub = await TestHub.start();
      await using spoke = hub.spoke();
      const { spokeEnd } = await linked(hub, spoke);
      spokeEnd.start();
      const { port } = hub;
      await hub[Symbol.asyncDispose]();
      await until(() => spoke.waits.length >= 2);
      await using again = await TestHub.start({}, port, hub.hubKey);
      again.spokeRecord = hub.spokeRecord === undefined ? undefined : { ...hub.spokeRecord };
      again.sessionEpoch = hub.sessionEpoch;
      const second = await until(() => spoke.links[1]);
      expect(second.sessionEpoch).toBe(2n);
      expect(second.sessionId).not.toBe(spokeEnd.sessionId);
    }),
  );

  it('stops dialling when it is closed, also while it waits', async () => {
    const hub = await TestHub.start();
    const spoke = hub.spoke({ backoff: { minMs: 60_000, maxMs: 60_000 } });
    await hub[Symbol.asyncDispose]();
    await until(() => spoke.waits.length === 1);
    await spoke[Symbol.asyncDispose]();
  });
});

describe('the pause before the next attempt', () => {
  const backoff = { minMs: 250, maxMs: 15_000 };

  it(
    'doubles up to its bound',
    proves('FED-04', () => {
      const longest = [0, 1, 2, 3, 6, 50].map((attempt) => reconnectDelayMs(attempt, backoff, () => 1));
      expect(longest).toEqual([250, 500, 1_000, 2_000, 15_000, 15_000]);
    }),
  );

  it(
    'is random in its upper half',
    proves('FED-04', () => {
      expect(reconnectDelayMs(3, backoff, () => 0)).toBe(1_000);
      expect(reconnectDelayMs(3, backoff, () => 0.5)).toBe(1_500);
      const drawn = new Set(Array.from({ length: 20 }, () => reconnectDelayMs(6, backoff)));
      expect(drawn.size).toBeGreaterThan(10);
    }),
  );
});
