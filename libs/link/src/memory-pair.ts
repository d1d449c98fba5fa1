import {
  type Chunk,
  create,
  keyId,
  type KeyId,
  type LaneName,
  type LinkMessage,
  newId,
  stripControl,
  type Welcome,
  WelcomeSchema,
  WireFault,
} from '@capstan/protocol';
import { makeHeartbeat, readHeartbeat } from './heartbeat.js';
import { InboundLanes } from './inbound-lanes.js';
import { LINK_LIMITS, type LinkLimits, VERSIONS } from './limits.js';
import { type HeartbeatContent, type Heartbeats, type Link, LinkClosed, type LinkEnd, type LinkPeer } from './link.js';
import { OutboundLanes } from './outbound-lanes.js';
import { SilenceWatch } from './silence.js';

type Frame =
  | { case: 'chunk'; chunk: Chunk; counted: boolean }
  | { case: 'heartbeat'; heartbeat: Heartbeats }
  | { case: 'farewell'; end: LinkEnd };

export interface MemoryLinksOptions {
  instanceId?: string;
  hubId?: string;
  heartbeat?: { hub?: (peer: LinkPeer) => HeartbeatContent; spoke?: (peer: LinkPeer) => HeartbeatContent };
  limits?: Partial<LinkLimits>;
}

/** Both ends of one session. */
export interface LinkPair {
  hubEnd: Link;
  spokeEnd: Link;
}

const SILENT: () => HeartbeatContent = () => ({ revocationEpoch: 0n, killEpochs: [] });
const NO_KEY = keyId(`k-${'0'.repeat(32)}`);

/**
 * Links between one spoke and one hub without a socket or a key: the same lanes, bounds, heartbeats and ends, in one
 * process. Messages are serialized all the same, so that neither end can reach into the other's objects.
 */
export class MemoryLinks {
  private epoch = 0n;

  constructor(private readonly o: MemoryLinksOptions = {}) {}

  /** The next session; neither end is started. */
  connect(): LinkPair {
    const limits = { ...LINK_LIMITS, ...this.o.limits };
    const { instanceId = 'spoke', hubId = 'hub', heartbeat = {} } = this.o;
    const { hub = SILENT, spoke = SILENT } = heartbeat;
    const session = { sessionId: newId(), sessionEpoch: ++this.epoch };
    const { revocationEpoch, killEpochs } = hub({ peerId: instanceId, ...session });
    const { heartbeatMs, deadAfterMs } = limits;
    const serverTimeMs = BigInt(Date.now());
    const welcome = create(WelcomeSchema, {
      ...session,
      revocationEpoch,
      killEpochs,
      heartbeatMs,
      deadAfterMs,
      serverTimeMs,
    });
    const hubEnd = new MemoryLink(instanceId, welcome, limits, hub);
    const spokeEnd = new MemoryLink(hubId, welcome, limits, spoke);
    hubEnd.join(spokeEnd);
    spokeEnd.join(hubEnd);
    return { hubEnd, spokeEnd };
  }
}

class MemoryLink implements Link {
  readonly peerKeyId: KeyId = NO_KEY;
  readonly version = VERSIONS.at(-1) ?? 1;
  readonly closed: Promise<LinkEnd>;
  onMessage: (lane: LaneName, message: LinkMessage) => void = () => undefined;
  onHeartbeat: ((heartbeat: Heartbeats) => void) | undefined;

  private peer: MemoryLink | undefined;
  private readonly inbound: InboundLanes;
  private readonly outbound: OutboundLanes;
  private readonly arrived: Frame[] = [];
  private readonly counts = { framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0, faultyFrames: 0 };
  private inFlight = 0;
  private isStarted = false;
  private isReading = false;
  private lastHeardMs = 0;
  private beating: NodeJS.Timeout | undefined;
  private silence: SilenceWatch | undefined;
  private end: LinkEnd | undefined;
  private settle: (end: LinkEnd) => void = () => undefined;

  constructor(
    readonly peerId: string,
    readonly welcome: Welcome,
    private readonly limits: LinkLimits,
    private readonly heartbeat: (peer: LinkPeer) => HeartbeatContent,
  ) {
    this.inbound = new InboundLanes(limits);
    this.outbound = new OutboundLanes(limits);
    this.closed = new Promise((resolve) => (this.settle = resolve));
  }

  join(peer: MemoryLink): void {
    this.peer = peer;
  }

  get sessionId(): string {
    return this.welcome.sessionId;
  }

  get sessionEpoch(): bigint {
    return this.welcome.sessionEpoch;
  }

  get stats(): Link['stats'] {
    return { ...this.counts, unconfirmedBytes: this.inFlight, waitingMessages: this.outbound.waitingMessages };
  }

  start(): void {
    if (this.isStarted || this.end !== undefined) return;
    this.isStarted = true;
    this.lastHeardMs = performance.now();
    this.beating = setInterval(() => this.beat(), this.limits.heartbeatMs);
    this.silence = new SilenceWatch(
      this.limits.deadAfterMs,
      () => this.lastHeardMs,
      () => performance.now(),
      () => this.fail(new WireFault('link-silent')),
    );
    this.beat();
    this.readSoon();
  }

  async send(lane: LaneName, message: LinkMessage): Promise<void> {
    if (this.end !== undefined) throw new LinkClosed(this.end);
    const sent = this.outbound.add(lane, message);
    this.pump();
    await sent;
  }

  close(code: string, sentence: string): Promise<void> {
    this.finish({ code, sentence });
    return Promise.resolve();
  }

  private pump(): void {
    for (;;) {
      const next = this.outbound.next();
      if (next === undefined || this.end !== undefined) return;
      const counted = next.lane !== 'kill';
      if (counted && this.inFlight + next.bytes > this.limits.windowBytes) return;
      const chunk = this.outbound.take(next.lane);
      if (counted) this.inFlight += chunk.data.length;
      this.counts.bytesOut += chunk.data.length;
      this.put({ case: 'chunk', chunk, counted });
    }
  }

  private beat(): void {
    const heartbeat = readHeartbeat(makeHeartbeat(this.heartbeat(this)), this.limits.heartbeatPartBytes);
    this.put({ case: 'heartbeat', heartbeat });
  }

  private put(frame: Frame): void {
    this.counts.framesOut += 1;
    this.peer?.arrived.push(frame);
    this.peer?.readSoon();
  }

  /** In a later turn, as from a socket: nobody is called back from within his own `send`. */
  private readSoon(): void {
    if (this.isReading || !this.isStarted) return;
    this.isReading = true;
    setImmediate(() => {
      this.isReading = false;
      for (const frame of this.arrived.splice(0)) this.read(frame);
    });
  }

  private read(frame: Frame): void {
    if (this.end !== undefined) return;
    this.lastHeardMs = performance.now();
    this.counts.framesIn += 1;
    switch (frame.case) {
      case 'chunk':
        this.take(frame.chunk);
        if (frame.counted) this.peer?.confirmed(frame.chunk.data.length);
        return;
      case 'heartbeat':
        this.onHeartbeat?.(frame.heartbeat);
        return;
      case 'farewell':
        this.finish(frame.end);
    }
  }

  private take(chunk: Chunk): void {
    this.counts.bytesIn += chunk.data.length;
    try {
      const complete = this.inbound.take(chunk);
      if (complete !== undefined) this.onMessage(complete.lane, complete.message);
    } catch (error) {
      if (error instanceof WireFault) this.counts.faultyFrames += 1;
      this.fail(error instanceof WireFault ? error : new WireFault('internal', 'handler', { cause: error }));
    }
  }

  private confirmed(bytes: number): void {
    this.inFlight -= bytes;
    this.pump();
  }

  private fail(fault: WireFault): void {
    this.finish({ code: fault.code, sentence: fault.sentence });
  }

  private finish(end: LinkEnd): void {
    if (this.end !== undefined) return;
    this.end = end;
    clearInterval(this.beating);
    this.silence?.[Symbol.dispose]();
    this.outbound.fail(new LinkClosed(end));
    this.put({ case: 'farewell', end: { code: end.code, sentence: stripControl(end.sentence).slice(0, 300) } });
    this.settle(end);
  }
}
