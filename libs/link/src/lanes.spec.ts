import { randomBytes } from 'node:crypto';
import { create, LANE_NAMES, Lane, type LaneName, laneOf, LinkMessageSchema, toBinary } from '@capstan/protocol';
import { proves } from '../../../test/support/proves.js';
import { envelopeMessage, linked, Path, payloadOf, TestHub, until } from '../test/peers.js';
import { InboundLanes } from './inbound-lanes.js';
import { LinkClosed } from './link.js';
import { OutboundLanes } from './outbound-lanes.js';

const SIZES = { chunkBytes: 16_384, messageBytes: 1_048_576 + 4_096 };

function chunkOf(bytes: Uint8Array): Parameters<InboundLanes['take']>[0] {
  const lanes = new OutboundLanes({ ...SIZES, chunkBytes: 1 << 20 });
  void lanes.add('commands', envelopeMessage(bytes));
  return lanes.take('commands');
}

describe('lanes', () => {
  it('carry messages of every size unchanged, in order, both ways', async () => {
    await using hub = await TestHub.start();
    await using spoke = hub.spoke();
    const { hubEnd, spokeEnd } = await linked(hub, spoke);
    for (const [from, to] of [
      [hubEnd, spokeEnd],
      [spokeEnd, hubEnd],
    ] as const) {
      const received: Uint8Array[] = [];
      to.onMessage = (lane, message) => {
        expect(lane).toBe('results');
        received.push(payloadOf(message));
      };
      hubEnd.start();
      spokeEnd.start();
      const sent = [1, 100, 16_383, 16_384, 16_385, 100_000, 1_000_000].map((size) => randomBytes(size));
      await Promise.all(sent.map((payload) => from.send('results', envelopeMessage(payload))));
      await until(() => received.length === sent.length);
      sent.forEach((payload, at) => expect(payload.equals(received[at] ?? Buffer.alloc(0))).toBe(true));
    }
  });

  it(
    'let a kill overtake everything, on a path that is far slower than the sender',
    proves('FED-04', async () => {
      await using hub = await TestHub.start({ limits: { deadAfterMs: 15_000 } });
      // About 3 MB/s: the 32 MB below would take ten seconds.
      await using path = await Path.to(hub, 16_384);
      await using spoke = hub.spoke({ url: path.url });
      const { hubEnd, spokeEnd } = await linked(hub, spoke);
      let bytesBeforeKill = 0;
      let killSent = 0;
      const killReceived = new Promise<number>((resolve) => {
        spokeEnd.onMessage = (lane, message) => {
          if (lane === 'kill') resolve(performance.now());
          else if (killSent > 0) bytesBeforeKill += payloadOf(message).length;
        };
      });
      hubEnd.start();
      spokeEnd.start();
      const big = envelopeMessage(randomBytes(500_000));
      const others = Array.from({ length: 64 }, (_, at) => hubEnd.send(LANE_NAMES[1 + (at % 4)] ?? 'events', big));
      for (const other of others) other.catch(() => undefined);
      await until(() => spokeEnd.stats.bytesIn > 500_000);
      killSent = performance.now();
      await hubEnd.send('kill', envelopeMessage(randomBytes(500)));
      expect(hubEnd.stats.unconfirmedBytes).toBeLessThanOrEqual(65_536);
      expect((await killReceived) - killSent).toBeLessThan(5_000);
      expect(bytesBeforeKill).toBeLessThanOrEqual(1_000_000);
      expect(hubEnd.stats.waitingMessages).toBeGreaterThan(40);
    }),
    20_000,
  );

  it('hold a sender back while its peer does not read, and tell it when the link closes', async () => {
    await using hub = await TestHub.start({ limits: { deadAfterMs: 2_000 } });
    await using path = await Path.to(hub);
    await using spoke = hub.spoke({ url: path.url });
    const { hubEnd, spokeEnd } = await linked(hub, spoke);
    hubEnd.start();
    spokeEnd.start();
    path.freeze();
    const sends = Array.from({ length: 100 }, () => hubEnd.send('events', envelopeMessage(randomBytes(60_000))));
    const outcomes = Promise.allSettled(sends);
    expect(hubEnd.stats.unconfirmedBytes).toBeLessThanOrEqual(65_536);
    expect(hubEnd.stats.waitingMessages).toBe(99);
    await hubEnd.close('closed', 'enough');
    const rejected = (await outcomes).filter((outcome) => outcome.status === 'rejected');
    expect(rejected).toHaveLength(99);
    expect(rejected.every(({ reason }) => reason instanceof LinkClosed)).toBe(true);
    await expect(hubEnd.send('kill', envelopeMessage(randomBytes(1)))).rejects.toBeInstanceOf(LinkClosed);
  });

  it('refuse to send a message that no receiver would take, and go on', async () => {
    await using hub = await TestHub.start();
    await using spoke = hub.spoke();
    const { hubEnd, spokeEnd } = await linked(hub, spoke);
    const received: LaneName[] = [];
    spokeEnd.onMessage = (lane) => received.push(lane);
    hubEnd.start();
    spokeEnd.start();
    const tooLarge = hubEnd.send('commands', envelopeMessage(new Uint8Array(SIZES.messageBytes)));
    await expect(tooLarge).rejects.toMatchObject({ code: 'envelope-too-large' });
    await hubEnd.send('commands', envelopeMessage(new Uint8Array(10)));
    await until(() => received.length === 1);
  });

  it('take the most urgent first, whatever was added first', async () => {
    const lanes = new OutboundLanes(SIZES);
    for (const name of [...LANE_NAMES].reverse()) void lanes.add(name, envelopeMessage(randomBytes(20_000)));
    const taken: Lane[] = [];
    for (let next = lanes.next(); next !== undefined; next = lanes.next()) taken.push(lanes.take(next.lane).lane);
    expect(taken).toEqual(LANE_NAMES.flatMap((name) => [laneOf(name), laneOf(name)]));
  });
});

describe('chunks are refused', () => {
  it.each([
    ['with a gap in the sequence', 'sequence-gap', { sequence: 2n }],
    ['without a sequence', 'sequence-gap', { sequence: 0n }],
    ['in an unknown lane', 'frame-malformed', { lane: Lane.UNSPECIFIED }],
    ['when empty', 'frame-malformed', { data: new Uint8Array() }],
    ['above 16 KiB', 'frame-too-large', { data: new Uint8Array(16_385) }],
    ['when what they complete is no message', 'frame-malformed', { data: randomBytes(100).fill(0xff) }],
  ])('%s: %s', (_why, code, change) => {
    const lanes = new InboundLanes(SIZES);
    expect(() => lanes.take({ ...chunkOf(randomBytes(10)), ...change })).toThrow(expect.objectContaining({ code }));
  });

  it('when they repeat', () => {
    const lanes = new InboundLanes(SIZES);
    const chunk = chunkOf(randomBytes(10));
    expect(lanes.take(chunk)).toMatchObject({ lane: 'commands' });
    expect(() => lanes.take(chunk)).toThrow(expect.objectContaining({ code: 'sequence-gap' }));
  });

  it('once the message is above 1 MiB, however small they are', () => {
    const lanes = new InboundLanes(SIZES);
    const more = { ...chunkOf(randomBytes(10)), data: new Uint8Array(16_384), last: false };
    let sequence = 0n;
    const feed = (): void => {
      for (;;) lanes.take({ ...more, sequence: ++sequence });
    };
    expect(feed).toThrow(expect.objectContaining({ code: 'frame-too-large' }));
    expect(sequence).toBe(65n);
  });

  it('when the message says nothing', () => {
    const lanes = new InboundLanes(SIZES);
    const data = toBinary(
      LinkMessageSchema,
      create(LinkMessageSchema, { body: { case: 'acknowledgement', value: {} } }),
    );
    expect(lanes.take({ ...chunkOf(randomBytes(1)), data })).toBeDefined();
  });
});
