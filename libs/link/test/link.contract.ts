import { randomBytes } from 'node:crypto';
import { create, KillEpochSchema, LANE_NAMES, type LaneName } from '@capstan/protocol';
import { proves } from '../../../test/support/proves.js';
import { envelopeMessage, payloadOf, until } from './peers.js';
import type { HeartbeatContent, Heartbeats, Link } from '../src/index.js';

/** A spoke and a hub, and the links between them. */
export interface LinkWorld extends AsyncDisposable {
  /** The next session, neither end started; the one before has ended. */
  connect(): Promise<{ hubEnd: Link; spokeEnd: Link }>;
}

export interface WorldTerms {
  heartbeat?: { hub?: () => HeartbeatContent; spoke?: () => HeartbeatContent };
  heartbeatMs: number;
  deadAfterMs: number;
}

const CALM: WorldTerms = { heartbeatMs: 5_000, deadAfterMs: 15_000 };
const WINDOW = 65_536;

/** What every kind of link owes. Run inside a `describe`: `describe('over memory', () => linkContract(open))`. */
export function linkContract(open: (terms: WorldTerms) => Promise<LinkWorld>): void {
  it(
    'knows who is at the other end, in which session',
    proves('FED-04', async () => {
      await using world = await open(CALM);
      const { hubEnd, spokeEnd } = await world.connect();
      expect([hubEnd.peerId, spokeEnd.peerId]).toEqual(['harbor', 'hub']);
      expect(hubEnd.sessionId).toBe(spokeEnd.sessionId);
      expect([hubEnd.sessionEpoch, spokeEnd.sessionEpoch]).toEqual([1n, 1n]);
      expect([hubEnd.version, spokeEnd.version]).toEqual([1, 1]);
      expect(hubEnd.welcome).toMatchObject({ heartbeatMs: 5_000, deadAfterMs: 15_000 });
    }),
  );

  it('delivers nothing before it is started, and everything afterwards', async () => {
    await using world = await open(CALM);
    const { hubEnd, spokeEnd } = await world.connect();
    const heard = listen(spokeEnd);
    hubEnd.start();
    await hubEnd.send('commands', envelopeMessage(Buffer.from('early')));
    await until(() => hubEnd.stats.framesOut >= 2);
    expect(heard).toEqual([]);
    spokeEnd.start();
    await until(() => heard.length === 1);
  });

  it(
    'keeps the order within each lane, both ways, for messages of every size',
    proves('FED-04', async () => {
      await using world = await open(CALM);
      const { hubEnd, spokeEnd } = await world.connect();
      for (const [from, to] of [
        [hubEnd, spokeEnd],
        [spokeEnd, hubEnd],
      ] as const) {
        const heard = listen(to);
        from.start();
        to.start();
        const sizes = [1, 16_383, 16_384, 16_385, 40_000, 1_000_000, 3];
        const payloads = sizes.map((size) => randomBytes(size));
        for (const lane of LANE_NAMES)
          for (const payload of payloads) from.send(lane, envelopeMessage(payload)).catch(() => undefined);
        await until(() => heard.length === LANE_NAMES.length * sizes.length, 20_000);
        for (const lane of LANE_NAMES) {
          const inLane = heard.filter((each) => each.lane === lane).map(({ payload }) => Buffer.from(payload));
          expect(inLane.every((payload, at) => payload.equals(payloads[at] ?? Buffer.alloc(0)))).toBe(true);
        }
      }
    }),
  );

  it(
    'lets a kill overtake whatever waits',
    proves('FED-04', async () => {
      await using world = await open(CALM);
      const { hubEnd, spokeEnd } = await world.connect();
      const heard = listen(spokeEnd);
      hubEnd.start();
      for (let each = 0; each < 8; each++)
        hubEnd.send('commands', envelopeMessage(randomBytes(100_000))).catch(() => undefined);
      await hubEnd.send('kill', envelopeMessage(Buffer.from('stop')));
      spokeEnd.start();
      await until(() => heard.length === 9, 20_000);
      expect(heard[0]?.lane).toBe('kill');
    }),
  );

  it(
    'makes senders wait while the peer does not read, and holds no kill back',
    proves('FED-04', async () => {
      await using world = await open(CALM);
      const { hubEnd, spokeEnd } = await world.connect();
      const heard = listen(spokeEnd);
      hubEnd.start();
      const sent = Array.from({ length: 50 }, () => hubEnd.send('events', envelopeMessage(randomBytes(16_000))));
      await hubEnd.send('kill', envelopeMessage(randomBytes(16_000)));
      const { unconfirmedBytes, waitingMessages } = hubEnd.stats;
      expect(unconfirmedBytes).toBeGreaterThan(WINDOW - 2 * 16_384);
      expect(unconfirmedBytes).toBeLessThanOrEqual(WINDOW);
      expect(waitingMessages).toBeGreaterThan(40);
      spokeEnd.start();
      await Promise.all(sent);
      await until(() => heard.length === 51);
      await until(() => hubEnd.stats.unconfirmedBytes < 16_384);
    }),
  );

  it('refuses a message above 1 MiB and lives on', async () => {
    await using world = await open(CALM);
    const { hubEnd, spokeEnd } = await world.connect();
    const heard = listen(spokeEnd);
    hubEnd.start();
    spokeEnd.start();
    await expect(hubEnd.send('events', envelopeMessage(new Uint8Array(2_000_000)))).rejects.toMatchObject({
      code: 'envelope-too-large',
    });
    await hubEnd.send('events', envelopeMessage(new Uint8Array(1)));
    await until(() => heard.length === 1);
  });

  it(
    'beats both ways at once and again, with what each side has to say',
    proves('FED-04', async () => {
      const killEpochs = [create(KillEpochSchema, { scope: 'instance', epoch: 4n })];
      const leaseRenewal = new Uint8Array(8_192).fill(7);
      const treeHead = new Uint8Array([1, 2, 3]);
      const hub = () => ({ revocationEpoch: 7n, killEpochs: [], leaseRenewal });
      const spoke = () => ({ revocationEpoch: 6n, killEpochs, treeHead });
      await using world = await open({ heartbeatMs: 20, deadAfterMs: 2_000, heartbeat: { hub, spoke } });
      const { hubEnd, spokeEnd } = await world.connect();
      const [atHub, atSpoke]: [Heartbeats[], Heartbeats[]] = [[], []];
      hubEnd.onHeartbeat = (heartbeat) => atHub.push(heartbeat);
      spokeEnd.onHeartbeat = (heartbeat) => atSpoke.push(heartbeat);
      hubEnd.start();
      spokeEnd.start();
      await until(() => atHub.length >= 3 && atSpoke.length >= 3);
      expect(spokeEnd.welcome).toMatchObject({ revocationEpoch: 7n });
      expect(atHub[0]).toMatchObject({ revocationEpoch: 6n, killEpochs, treeHead });
      expect(atHub[0]).not.toHaveProperty('leaseRenewal');
      expect(atSpoke[0]).toMatchObject({ revocationEpoch: 7n, killEpochs: [] });
      expect(Buffer.from(atSpoke[0]?.leaseRenewal ?? [])).toEqual(Buffer.from(leaseRenewal));
      expect(Math.abs((atHub[0]?.sentAtMs ?? 0) - Date.now())).toBeLessThan(5_000);
    }),
  );

  it(
    'gives up a peer that is silent',
    proves('FED-04', async () => {
      await using world = await open({ heartbeatMs: 20, deadAfterMs: 60 });
      const { hubEnd } = await world.connect();
      hubEnd.start();
      expect((await hubEnd.closed).code).toBe('link-silent');
    }),
  );

  it('ends once, with the reason at both ends, safe to print; what waited is told', async () => {
    await using world = await open(CALM);
    const { hubEnd, spokeEnd } = await world.connect();
    hubEnd.start();
    const waiting = Array.from({ length: 10 }, () => hubEnd.send('results', envelopeMessage(randomBytes(60_000))));
    const answers = Promise.allSettled(waiting);
    const closing = [hubEnd.close('key-revoked', 'gone \u001b[31mnow'), hubEnd.close('internal', 'a second reason')];
    spokeEnd.start();
    await Promise.all(closing);
    expect((await hubEnd.closed).code).toBe('key-revoked');
    expect(await spokeEnd.closed).toEqual({ code: 'key-revoked', sentence: 'gone [31mnow' });
    expect((await answers).filter(({ status }) => status === 'rejected').length).toBeGreaterThan(7);
    for (const end of [hubEnd, spokeEnd])
      await expect(end.send('kill', envelopeMessage(new Uint8Array(1)))).rejects.toThrow('key-revoked');
  });

  it(
    'begins each session anew: a higher epoch, another id, and nothing of the one before',
    proves('FED-04', async () => {
      await using world = await open(CALM);
      const sessions = new Set<string>();
      for (let epoch = 1n; epoch <= 3n; epoch++) {
        const { hubEnd, spokeEnd } = await world.connect();
        expect([hubEnd.sessionEpoch, spokeEnd.sessionEpoch]).toEqual([epoch, epoch]);
        sessions.add(hubEnd.sessionId);
        const heard = listen(spokeEnd);
        hubEnd.start();
        spokeEnd.start();
        await hubEnd.send('commands', envelopeMessage(Buffer.from(`of ${String(epoch)}`)));
        await until(() => heard.length === 1);
        expect(Buffer.from(heard[0]?.payload ?? []).toString()).toBe(`of ${String(epoch)}`);
        await hubEnd.close('closed', 'The next one, please.');
        await spokeEnd.closed;
      }
      expect(sessions.size).toBe(3);
    }),
  );
}

function listen(link: Link): { lane: LaneName; payload: Uint8Array }[] {
  const heard: { lane: LaneName; payload: Uint8Array }[] = [];
  link.onMessage = (lane, message) => heard.push({ lane, payload: payloadOf(message) });
  return heard;
}
