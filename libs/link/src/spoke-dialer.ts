import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type KeyRing, type SigningKey, TlsAgent } from '@capstan/identity';
import { type FaultCode, keyId, LocalFault, type Welcome, WireFault } from '@capstan/protocol';
import { type ClientOptions, WebSocket } from 'ws';
import { type Backoff, RECONNECT, reconnectDelayMs } from './backoff.js';
import { closeSocket } from './close-socket.js';
import { encodeFrame } from './frames.js';
import { checkChallenge, type HandshakeTerms, makeHello, makeProof, TERMS } from './handshake.js';
import { HandshakeSocket } from './handshake-socket.js';
import { LINK_LIMITS, type LinkLimits, SUBPROTOCOL } from './limits.js';
import type { HeartbeatContent, Link, LinkPeer } from './link.js';
import { SocketLink } from './socket-link.js';
import { tlsBinding } from './tls-binding.js';

export type DialState = 'connecting' | 'connected' | 'waiting';

/** What the spoke demands of the hub's TLS; pinned when it enrolled. */
export interface SpokeTls {
  /** The server's key, see `spkiPin`; then no CA is asked. */
  pin?: string | undefined;
  /** CAs to trust instead of the platform's, PEM. */
  ca?: string | undefined;
  /** `hub`: the transcript binds the connection, and whoever ends TLS in between is refused. */
  ends: 'hub' | 'proxy';
}

export interface SpokeDialerOptions {
  /** `wss://…/federation/link`; `ws:` only to this machine. */
  url: string;
  /** Of other replicas of the same hub: dialled in turn once a link has ended or could not be had. */
  moreUrls?: readonly string[];
  instanceId: string;
  /** Read anew for each dial. */
  readonly key: SigningKey;
  /** Whom to believe: the hub's id and its pinned keys. */
  hub: { id: string; keys: KeyRing };
  /** An authenticated link; its owner sets `onMessage` and calls `start`. */
  onLink(link: Link): void;
  /** For logs and status; `detail` says why it waits. */
  onState?(state: DialState, detail: string): void;
  /** The hub, after it had proven its key, would have no link: the code that it gave. */
  onRefused?(code: FaultCode): void;
  /** Only for `wss:`; by default a certificate that is valid for the host, and no binding. */
  tls?: SpokeTls;
  backoff?: Backoff;
  /** The last session epoch seen, on disk: a hub that goes back behind it is refused. */
  sessionEpoch: { load(): Promise<bigint>; save(epoch: bigint): Promise<void> };
  /** What each of the spoke's heartbeats says; by default nothing but the hub's own revocation epoch. Must not throw. */
  heartbeat?(peer: LinkPeer): HeartbeatContent;
  /** For tests of other versions and of recorded sessions. */
  terms?: Partial<HandshakeTerms>;
  limits?: Partial<LinkLimits>;
}

/** ws 8.23 knows these two; its types do not yet. */
interface BoundedClientOptions extends ClientOptions {
  maxFragments: number;
  maxBufferedChunks: number;
}

/** The spoke's side: keeps one link to the hub, dialling again with growing, jittered pauses. */
export class SpokeDialer {
  private readonly limits: LinkLimits;
  private readonly terms: HandshakeTerms;
  private readonly urls: readonly string[];
  /** Which of the addresses is dialled now. */
  private turn = 0;
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;
  private link: SocketLink | undefined;
  private dialling: WebSocket | undefined;

  /** Throws LocalFault link-url for an address that is not a WebSocket's, or is neither TLS nor this machine. */
  constructor(private readonly o: SpokeDialerOptions) {
    this.urls = [o.url, ...(o.moreUrls ?? [])];
    for (const url of this.urls) checkUrl(url);
    this.limits = { ...LINK_LIMITS, ...o.limits };
    this.terms = { ...TERMS, ...o.terms };
  }

  start(): void {
    this.running ??= this.run();
  }

  /** Closes the link and stops dialling; resolves when nothing is left. */
  async close(): Promise<void> {
    this.stopping.abort();
    this.dialling?.terminate();
    await this.link?.close('closed', 'The spoke is going down.');
    await this.running;
  }

  private get url(): string {
    return this.urls[this.turn % this.urls.length] ?? this.o.url;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    let attempt = 0;
    while (!signal.aborted) {
      this.o.onState?.('connecting', this.url);
      const began = performance.now();
      const why = await this.session();
      // A link that lived was no failure: the next attempt counts anew.
      if (performance.now() - began > this.limits.deadAfterMs) attempt = 0;
      if (signal.aborted) return;
      this.turn += 1;
      const pause = reconnectDelayMs(attempt++, this.o.backoff ?? RECONNECT);
      this.o.onState?.('waiting', `${why}; again in ${String(pause)} ms`);
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One connection from dial to end; answers with the reason of its end. */
  private async session(): Promise<string> {
    const ws = this.dial();
    const upgraded = Promise.withResolvers<Duplex>();
    ws.once('upgrade', ({ socket: stream }) => upgraded.resolve(stream));
    this.dialling = ws;
    using socket = new HandshakeSocket(ws, this.limits.authenticateMs);
    try {
      const link = await this.authenticate(socket, upgraded.promise);
      this.link = link;
      this.dialling = undefined;
      if (this.stopping.signal.aborted) await link.close('closed', 'The spoke is going down.');
      else {
        this.o.onState?.('connected', link.sessionId);
        this.o.onLink(link);
      }
      return (await link.closed).code;
    } catch (error) {
      const fault = error instanceof WireFault ? error : new WireFault('internal', 'dialling', { cause: error });
      if (ws.readyState === ws.CONNECTING) ws.terminate();
      else closeSocket(ws, { code: fault.code, sentence: fault.sentence }, this.limits.closeMs);
      return fault.message;
    } finally {
      this.link = undefined;
      this.dialling = undefined;
    }
  }

  private dial(): WebSocket {
    const options: BoundedClientOptions = {
      perMessageDeflate: false,
      handshakeTimeout: this.limits.authenticateMs,
      maxPayload: this.limits.frameBytes,
      maxFragments: this.limits.fragments,
      maxBufferedChunks: this.limits.bufferedChunks,
    };
    if (this.url.startsWith('ws:')) return new WebSocket(this.url, SUBPROTOCOL, options);
    return new WebSocket(this.url, SUBPROTOCOL, { ...options, agent: new TlsAgent(this.o.tls ?? {}) });
  }

  private async authenticate(socket: HandshakeSocket, stream: Promise<Duplex>): Promise<SocketLink> {
    const { ws } = socket;
    const { instanceId, key, hub } = this.o;
    const lastSeen = await this.o.sessionEpoch.load();
    await socket.opened();
    const carrier = await stream;
    const tls = this.o.tls?.ends === 'hub' ? tlsBinding(carrier) : undefined;
    const about = { instanceId, key, sessionEpoch: lastSeen, ...newestOf(hub) };
    const hello = encodeFrame({ case: 'hello', value: makeHello(about, this.terms) });
    const seen = { hello, tls };
    ws.send(hello);
    const challenge = await socket.receive('challenge');
    checkChallenge(challenge.value, seen, { hubId: hub.id, keys: hub.keys, versions: this.terms.versions });
    socket.trust();
    ws.send(encodeFrame({ case: 'proof', value: makeProof(key, seen, challenge.bytes) }));
    const { value: welcome } = await socket.receive('welcome').catch((error: unknown) => {
      if (error instanceof WireFault) this.o.onRefused?.(error.code);
      throw error;
    });
    checkWelcome(welcome, lastSeen, this.limits);
    const link = new SocketLink({
      ws,
      stream: carrier,
      peerId: hub.id,
      peerKeyId: keyId(challenge.value.keyId),
      ownKeyId: key.keyId,
      version: challenge.value.version,
      welcome,
      early: socket.handOver(),
      heartbeat: (peer) => this.o.heartbeat?.(peer) ?? { revocationEpoch: welcome.revocationEpoch, killEpochs: [] },
      limits: this.limits,
    });
    await this.o.sessionEpoch.save(welcome.sessionEpoch);
    return link;
  }
}

/** Which of the hub's keys it can be greeted with; nothing for its first, as spokes have always said. */
function newestOf({ keys }: SpokeDialerOptions['hub']): { hubKeyId?: string } {
  const known = keys.records().filter(({ purposes }) => purposes.includes('link'));
  const [newest] = known.sort((a, b) => b.epoch - a.epoch);
  return newest === undefined || newest.epoch === 1 ? {} : { hubKeyId: newest.keyId };
}

/** Throws WireFault frame-malformed, sequence-gap. The Welcome is not signed: nothing in it may loosen our own limits. */
function checkWelcome(welcome: Welcome, lastSeen: bigint, limits: LinkLimits): void {
  if (welcome.sessionEpoch <= lastSeen) throw new WireFault('sequence-gap', 'the session epoch went back');
  if (welcome.heartbeatMs < 10 || welcome.heartbeatMs > limits.heartbeatMs) {
    throw new WireFault('frame-malformed', `heartbeat of ${String(welcome.heartbeatMs)} ms`);
  }
  if (welcome.deadAfterMs < 2 * welcome.heartbeatMs || welcome.deadAfterMs > limits.deadAfterMs) {
    throw new WireFault('frame-malformed', `dead after ${String(welcome.deadAfterMs)} ms`);
  }
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

function checkUrl(url: string): void {
  const parsed = URL.parse(url);
  if (parsed?.protocol === 'wss:') return;
  if (parsed?.protocol === 'ws:' && LOOPBACK.test(parsed.hostname)) return;
  throw new LocalFault('link-url', 'The hub is reached by wss://, or by ws:// on this machine only.', url);
}
