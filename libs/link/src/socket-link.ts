import type { Duplex } from 'node:stream';
import {
  type Chunk,
  type FaultCode,
  faultSentence,
  type Farewell,
  isFaultCode,
  type KeyId,
  type LaneName,
  type LinkMessage,
  stripControl,
  type Welcome,
  WireFault,
} from '@capstan/protocol';
import type { WebSocket } from 'ws';
import { closeSocket } from './close-socket.js';
import { decodeFrame, encodeFrame } from './frames.js';
import { makeHeartbeat, readHeartbeat } from './heartbeat.js';
import { InboundLanes } from './inbound-lanes.js';
import type { LinkLimits } from './limits.js';
import {
  type HeartbeatContent,
  type Heartbeats,
  type Link,
  LinkClosed,
  type LinkEnd,
  type LinkPeer,
  type LinkStats,
} from './link.js';
import { OutboundLanes } from './outbound-lanes.js';
import { SendWindow } from './send-window.js';
import { SilenceWatch } from './silence.js';
import { bytesOf, faultOfCloseStatus, faultOfSocketError } from './socket-faults.js';

export interface SocketLinkOptions {
  ws: WebSocket;
  /** What the WebSocket writes to. */
  stream: Duplex;
  peerId: string;
  peerKeyId: KeyId;
  ownKeyId: KeyId;
  version: number;
  welcome: Welcome;
  /** Frames that came right behind the handshake. */
  early: readonly Uint8Array[];
  /** What each heartbeat says; must not throw. */
  heartbeat: (peer: LinkPeer) => HeartbeatContent;
  limits: LinkLimits;
}

/** A Link over one authenticated WebSocket. */
export class SocketLink implements Link {
  readonly peerId: string;
  readonly peerKeyId: KeyId;
  readonly ownKeyId: KeyId;
  readonly version: number;
  readonly welcome: Welcome;
  readonly closed: Promise<LinkEnd>;
  onMessage: (lane: LaneName, message: LinkMessage) => void = () => undefined;
  onHeartbeat: ((heartbeat: Heartbeats) => void) | undefined;

  private readonly ws: WebSocket;
  private readonly inbound: InboundLanes;
  private readonly outbound: OutboundLanes;
  private readonly window: SendWindow;
  private readonly counts = { framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0, faultyFrames: 0 };
  private early: readonly Uint8Array[];
  private started = false;
  private isHeld = false;
  private end: LinkEnd | undefined;
  private settle: (end: LinkEnd) => void = () => undefined;
  private lastHeardMs = performance.now();
  private heartbeat: NodeJS.Timeout | undefined;
  private silence: SilenceWatch | undefined;

  constructor(private readonly o: SocketLinkOptions) {
    ({ ws: this.ws, peerId: this.peerId, peerKeyId: this.peerKeyId, ownKeyId: this.ownKeyId } = o);
    ({ version: this.version, welcome: this.welcome, early: this.early } = o);
    this.inbound = new InboundLanes(o.limits);
    this.outbound = new OutboundLanes(o.limits);
    this.window = new SendWindow(o.limits);
    this.closed = new Promise((resolve) => (this.settle = resolve));
    this.ws.on('message', (data, isBinary) => this.received(bytesOf(data), isBinary));
    this.ws.on('pong', (payload) => this.confirmed(payload));
    this.ws.on('error', (error) => this.broke(faultOfSocketError(error)));
    this.ws.on('close', (status, reason) => this.gone(status, reason.toString()));
    this.ws.pause();
    if (this.ws.readyState === this.ws.CLOSED) this.gone(0, '');
  }

  get sessionId(): string {
    return this.welcome.sessionId;
  }

  get sessionEpoch(): bigint {
    return this.welcome.sessionEpoch;
  }

  get stats(): LinkStats {
    const { unconfirmedBytes } = this.window;
    return { ...this.counts, unconfirmedBytes, waitingMessages: this.outbound.waitingMessages };
  }

  start(): void {
    if (this.started || this.end !== undefined) return;
    this.started = true;
    this.lastHeardMs = performance.now();
    this.heartbeat = setInterval(() => this.beat(), this.welcome.heartbeatMs);
    this.silence = new SilenceWatch(
      this.welcome.deadAfterMs,
      () => Math.min(this.lastHeardMs, this.window.waitingSinceMs ?? Infinity),
      () => performance.now(),
      () => this.fail(new WireFault('link-silent')),
    );
    this.beat();
    const early = this.early;
    this.early = [];
    for (const frame of early) this.received(frame, true);
    this.ws.resume();
  }

  async send(lane: LaneName, message: LinkMessage): Promise<void> {
    if (this.end !== undefined) throw new LinkClosed(this.end);
    const sent = this.outbound.add(lane, message);
    this.pump();
    await sent;
  }

  async close(code: string, sentence: string): Promise<void> {
    this.finish({ code, sentence });
    if (this.ws.readyState === this.ws.CLOSED) return;
    await new Promise<void>((resolve) => this.ws.once('close', () => resolve()));
  }

  /** Sends what the window allows. The kill lane is not held back by it. */
  private pump(): void {
    for (;;) {
      const next = this.outbound.next();
      if (next === undefined || this.end !== undefined) return;
      if (next.lane !== 'kill' && !this.window.hasRoomFor(next.bytes)) return;
      this.sendChunk(this.outbound.take(next.lane), next.lane !== 'kill');
    }
  }

  private sendChunk(value: Chunk, counted: boolean): void {
    const bytes = encodeFrame({ case: 'chunk', value });
    this.put(bytes);
    const ping = counted ? this.window.sent(value.data.length, performance.now()) : undefined;
    if (ping !== undefined) this.ws.ping(ping);
  }

  private put(bytes: Uint8Array): void {
    this.counts.framesOut += 1;
    this.counts.bytesOut += bytes.length;
    this.holdForThisTurn();
    this.ws.send(bytes);
  }

  /** What is sent in one turn goes to the kernel at once: a call for each frame was a fifth of a hub's CPU (measured). */
  private holdForThisTurn(): void {
    if (this.isHeld) return;
    this.isHeld = true;
    this.o.stream.cork();
    process.nextTick(() => {
      this.isHeld = false;
      this.o.stream.uncork();
    });
  }

  private beat(): void {
    this.put(encodeFrame({ case: 'heartbeat', value: makeHeartbeat(this.o.heartbeat(this)) }));
  }

  private received(bytes: Uint8Array, isBinary: boolean): void {
    if (this.end !== undefined) return;
    if (!this.started) {
      // One read of the socket may bring several frames although it is paused.
      this.early = [...this.early, bytes];
      return;
    }
    this.lastHeardMs = performance.now();
    this.counts.framesIn += 1;
    this.counts.bytesIn += bytes.length;
    try {
      if (!isBinary) throw new WireFault('frame-malformed', 'text frame');
      this.handle(bytes);
    } catch (error) {
      if (error instanceof WireFault) this.counts.faultyFrames += 1;
      this.fail(error instanceof WireFault ? error : new WireFault('internal', 'handler', { cause: error }));
    }
  }

  private handle(bytes: Uint8Array): void {
    const frame = decodeFrame(bytes);
    switch (frame.case) {
      case 'chunk': {
        const complete = this.inbound.take(frame.value);
        if (complete !== undefined) this.onMessage(complete.lane, complete.message);
        return;
      }
      case 'heartbeat': {
        const heartbeat = readHeartbeat(frame.value, this.o.limits.heartbeatPartBytes);
        this.onHeartbeat?.(heartbeat);
        return;
      }
      case 'farewell':
        this.finish(endOf(frame.value));
        return;
      case 'hello':
      case 'challenge':
      case 'proof':
      case 'welcome':
        throw new WireFault('frame-malformed', `${frame.case} on an open link`);
    }
  }

  private confirmed(payload: Uint8Array): void {
    this.lastHeardMs = performance.now();
    this.window.confirmed(payload);
    this.pump();
  }

  private broke(code: FaultCode | undefined): void {
    if (code === undefined) return;
    this.counts.faultyFrames += 1;
    this.fail(new WireFault(code));
  }

  private fail(fault: WireFault): void {
    this.finish({ code: fault.code, sentence: fault.sentence });
  }

  /** The first reason wins: what follows from it is not another one. */
  private finish(end: LinkEnd): void {
    if (this.end !== undefined) return;
    this.end = end;
    clearInterval(this.heartbeat);
    this.silence?.[Symbol.dispose]();
    this.outbound.fail(new LinkClosed(end));
    closeSocket(this.ws, end, this.o.limits.closeMs);
    this.settle(end);
  }

  /** Without a farewell: the reason of the WebSocket's close is the peer's code, if it is one; else its status may tell. */
  private gone(status: number, reason: string): void {
    const code = isFaultCode(reason) ? reason : faultOfCloseStatus(status);
    if (code !== undefined) this.finish({ code, sentence: faultSentence(code) });
    else this.finish({ code: 'link-lost', sentence: 'The connection broke.' });
  }
}

/** A peer's reason, made safe to log and print. */
function endOf({ code, sentence }: Farewell): LinkEnd {
  return { code: isFaultCode(code) ? code : 'closed', sentence: stripControl(sentence).slice(0, 300) };
}
