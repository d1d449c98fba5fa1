import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { KeyRecord, SigningKey } from '@capstan/identity';
import { create, type FaultCode, newId, type Welcome, WelcomeSchema, WireFault } from '@capstan/protocol';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { AddressCap } from './address-cap.js';
import { closeSocket } from './close-socket.js';
import { encodeFrame } from './frames.js';
import { checkHello, checkProof, type HandshakeTerms, makeChallenge, TERMS } from './handshake.js';
import { HandshakeSocket } from './handshake-socket.js';
import { LINK_LIMITS, type LinkLimits, SUBPROTOCOL } from './limits.js';
import type { HeartbeatContent, Link, LinkPeer } from './link.js';
import { SocketLink } from './socket-link.js';
import { tlsBinding } from './tls-binding.js';

export interface LinkListenerOptions {
  hubId: string;
  key: SigningKey;
  /** For a hub that has had several keys: the one that a peer can verify whose Hello names this one, or none. */
  keyFor?(knownKeyId: string): SigningKey;
  /**
   * The pinned key of an instance, if it may connect; asked before the peer has proven anything, so it must be cheap.
   * A WireFault that it throws is told to the peer, say connection-not-active.
   */
  findSpoke(instanceId: string, keyId: string): Promise<KeyRecord | undefined>;
  /** A session epoch that is higher than every earlier one of this instance, and than the last one it says it saw. */
  nextSessionEpoch(instanceId: string, lastSeen: bigint): Promise<bigint>;
  /** What each heartbeat to an instance says; its epochs ride in the Welcome too. Must not throw. */
  heartbeat(peer: LinkPeer): HeartbeatContent;
  /** An authenticated link; its owner sets `onMessage` and calls `start`. An older link of the same instance may live. */
  onLink(link: Link): void;
  /** A connection that was refused before it became a link, with the code. */
  onRefused?(code: FaultCode): void;
  /**
   * Where TLS ends: at this process, and then each transcript binds its connection's exporter; or at a proxy in front,
   * whose connection to us the spoke does not know. Default `hub`; without TLS it says nothing.
   */
  tlsEnds?: 'hub' | 'proxy';
  /** For tests of other versions and of recorded sessions. */
  terms?: Partial<HandshakeTerms>;
  limits?: Partial<LinkLimits>;
}

/** ws 8.23 knows these two; its types do not yet. */
interface BoundedServerOptions extends ServerOptions {
  maxFragments: number;
  maxBufferedChunks: number;
}

/** The hub's side: takes HTTP upgrades and makes authenticated links of them. */
export class LinkListener {
  private readonly limits: LinkLimits;
  private readonly terms: HandshakeTerms;
  private readonly server: WebSocketServer;
  private readonly cap: AddressCap;
  private readonly links = new Set<SocketLink>();
  private readonly handshakes = new Set<WebSocket>();
  private isClosed = false;

  constructor(private readonly o: LinkListenerOptions) {
    this.limits = { ...LINK_LIMITS, ...o.limits };
    this.terms = { ...TERMS, ...o.terms };
    this.cap = new AddressCap(this.limits);
    const options: BoundedServerOptions = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: this.limits.frameBytes,
      maxFragments: this.limits.fragments,
      maxBufferedChunks: this.limits.bufferedChunks,
      handleProtocols: () => SUBPROTOCOL,
    };
    this.server = new WebSocketServer(options);
  }

  /** For an `upgrade` request on the link's path. Answers 400, 403 or 503 itself where it refuses. */
  handleUpgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.isClosed) return refuseUpgrade(socket, '503 Service Unavailable');
    // No spoke sends an origin; a browser page always does, and has no business here.
    if (req.headers.origin !== undefined) return this.refuse(socket, '403 Forbidden', 'forbidden');
    const offered = (req.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (!offered.includes(SUBPROTOCOL)) return this.refuse(socket, '400 Bad Request', 'handshake-version');
    const place = this.cap.enter(req.socket.remoteAddress);
    if (place === undefined) return this.refuse(socket, '503 Service Unavailable', 'too-many-connections');
    // ws may refuse the upgrade by itself, or the socket may break first: either ends in a close.
    socket.once('close', () => place[Symbol.dispose]());
    this.server.handleUpgrade(req, socket, head, (ws) => void this.open(ws, socket, place));
  }

  /** Refuses new connections and closes the links. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const ws of this.handshakes) ws.terminate();
    await Promise.all([...this.links].map((link) => link.close('closed', 'The hub is going down.')));
  }

  private async open(ws: WebSocket, stream: Duplex, place: Disposable): Promise<void> {
    this.handshakes.add(ws);
    using socket = new HandshakeSocket(ws, this.limits.authenticateMs);
    try {
      const link = await this.authenticate(socket, stream);
      place[Symbol.dispose]();
      this.links.add(link);
      void link.closed.then(() => this.links.delete(link));
      if (this.isClosed) return await link.close('closed', 'The hub is going down.');
      this.o.onLink(link);
    } catch (error) {
      const fault = error instanceof WireFault ? error : new WireFault('internal', 'handshake', { cause: error });
      closeSocket(ws, { code: fault.code, sentence: fault.sentence }, this.limits.closeMs);
      this.o.onRefused?.(fault.code);
    } finally {
      this.handshakes.delete(ws);
    }
  }

  private async authenticate(socket: HandshakeSocket, stream: Duplex): Promise<SocketLink> {
    const { ws } = socket;
    const hello = await socket.receive('hello');
    checkHello(hello.value);
    const { instanceId, sessionEpoch: lastSeen } = hello.value;
    const seen = { hello: hello.bytes, tls: this.o.tlsEnds === 'proxy' ? undefined : tlsBinding(stream) };
    const ownKey = this.o.keyFor?.(hello.value.hubKeyId) ?? this.o.key;
    const challenge = makeChallenge(hello.value, seen, { id: this.o.hubId, key: ownKey }, this.terms);
    const pinned = await this.o.findSpoke(instanceId, hello.value.keyId);
    const challengeBytes = encodeFrame({ case: 'challenge', value: challenge });
    ws.send(challengeBytes);
    const proof = await socket.receive('proof');
    // Only now is a missing key told: before, anybody could ask who is enrolled here.
    const key = checkProof(proof.value, seen, challengeBytes, { instanceId, key: pinned });
    const welcome = this.welcome(instanceId, await this.o.nextSessionEpoch(instanceId, lastSeen));
    socket.check();
    ws.send(encodeFrame({ case: 'welcome', value: welcome }));
    const early = socket.handOver();
    const { version } = challenge;
    return new SocketLink({
      ws,
      stream,
      peerId: instanceId,
      peerKeyId: key.keyId,
      ownKeyId: ownKey.keyId,
      version,
      welcome,
      early,
      heartbeat: (peer) => this.o.heartbeat(peer),
      limits: this.limits,
    });
  }

  private welcome(peerId: string, sessionEpoch: bigint): Welcome {
    const sessionId = newId();
    const { revocationEpoch, killEpochs } = this.o.heartbeat({ peerId, sessionId, sessionEpoch });
    return create(WelcomeSchema, {
      sessionId,
      sessionEpoch,
      revocationEpoch,
      killEpochs,
      heartbeatMs: this.limits.heartbeatMs,
      deadAfterMs: this.limits.deadAfterMs,
      serverTimeMs: BigInt(Date.now()),
    });
  }

  private refuse(socket: Duplex, status: string, code: FaultCode): void {
    refuseUpgrade(socket, status);
    this.o.onRefused?.(code);
  }
}

function refuseUpgrade(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy());
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
