import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { type KeyRecord, keyRecord, KeyRing, SigningKey } from '@capstan/identity';
import { create, EnvelopeSchema, type LinkMessage, LinkMessageSchema } from '@capstan/protocol';
import { WebSocket, WebSocketServer } from 'ws';
import {
  type Link,
  LinkListener,
  type LinkListenerOptions,
  SpokeDialer,
  type SpokeDialerOptions,
} from '../src/index.js';
import type { ServerCertificate } from '../../../test/support/certificate.js';

/** Heartbeats that fit a test; everything else as in production. */
export const QUICK = { heartbeatMs: 50, deadAfterMs: 400 };

/** Resolves with the first truthy answer; rejects after `deadlineMs`. */
export async function until<T>(ask: () => T | undefined | false, deadlineMs = 5_000): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > end) throw new Error(`still waiting after ${String(deadlineMs)} ms for ${ask.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function envelopeMessage(payload: Uint8Array): LinkMessage {
  return create(LinkMessageSchema, {
    body: { case: 'envelope', value: create(EnvelopeSchema, { payloadType: 'test', payload }) },
  });
}

export function payloadOf(message: LinkMessage): Uint8Array {
  if (message.body.case !== 'envelope') throw new Error(`not an envelope: ${String(message.body.case)}`);
  return message.body.value.payload;
}

export type TestHubOptions = Partial<LinkListenerOptions> & {
  /** The hub ends TLS with it; without one there is none. */
  certificate?: ServerCertificate & { maxVersion?: 'TLSv1.2' };
  /** The pinned spoke's. */
  spokeKey?: SigningKey;
};

/** A hub's link endpoint on a port of its own, and one spoke that it knows. */
export class TestHub implements AsyncDisposable {
  readonly hubKey: SigningKey;
  readonly spokeKey: SigningKey;
  readonly links: Link[] = [];
  readonly refused: string[] = [];
  readonly listener: LinkListener;
  spokeRecord: KeyRecord | undefined;
  sessionEpoch = 0n;
  private readonly server: Server;
  private readonly scheme: 'ws' | 'wss';

  private constructor({ certificate, spokeKey, ...options }: TestHubOptions, hubKey?: SigningKey) {
    this.hubKey = hubKey ?? SigningKey.generate();
    this.spokeKey = spokeKey ?? SigningKey.generate();
    this.spokeRecord = keyRecord('harbor', this.spokeKey.publicKey, ['link', 'receipt']);
    this.scheme = certificate === undefined ? 'ws' : 'wss';
    this.listener = new LinkListener({
      hubId: 'hub',
      key: this.hubKey,
      findSpoke: () => Promise.resolve(this.spokeRecord),
      nextSessionEpoch: () => Promise.resolve(++this.sessionEpoch),
      heartbeat: () => ({ revocationEpoch: 7n, killEpochs: [] }),
      onLink: (link) => this.links.push(link),
      onRefused: (code) => this.refused.push(code),
      ...options,
      limits: { ...QUICK, ...options.limits },
    });
    this.server = certificate === undefined ? createServer() : createTlsServer(certificate);
    this.server.on('upgrade', (req, socket, head) => this.listener.handleUpgrade(req, socket, head));
  }

  static async start(options: TestHubOptions = {}, port = 0, hubKey?: SigningKey): Promise<TestHub> {
    const hub = new TestHub(options, hubKey);
    hub.server.listen(port, '127.0.0.1');
    await once(hub.server, 'listening');
    return hub;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.scheme}://127.0.0.1:${String(this.port)}/federation/link`;
  }

  /** A spoke that dials this hub, or whatever stands at `url`. */
  spoke(options: Partial<SpokeDialerOptions> = {}): TestSpoke {
    return new TestSpoke({
      url: this.url,
      instanceId: 'harbor',
      key: this.spokeKey,
      hub: { id: 'hub', keys: new KeyRing([keyRecord('hub', this.hubKey.publicKey, ['link', 'command'])]) },
      ...options,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}

export class TestSpoke implements AsyncDisposable {
  readonly links: Link[] = [];
  readonly waits: string[] = [];
  sessionEpoch = 0n;
  readonly dialer: SpokeDialer;

  constructor(options: Omit<SpokeDialerOptions, 'onLink' | 'sessionEpoch'> & Partial<SpokeDialerOptions>) {
    this.dialer = new SpokeDialer({
      backoff: { minMs: 20, maxMs: 80 },
      onLink: (link) => this.links.push(link),
      onState: (state, detail) => {
        if (state === 'waiting') this.waits.push(detail);
      },
      sessionEpoch: {
        load: () => Promise.resolve(this.sessionEpoch),
        save: (epoch) => {
          this.sessionEpoch = epoch;
          return Promise.resolve();
        },
      },
      ...options,
    });
    this.dialer.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dialer.close();
  }
}

/** Both ends of one link, neither started. */
export async function linked(hub: TestHub, spoke: TestSpoke): Promise<{ hubEnd: Link; spokeEnd: Link }> {
  const spokeEnd = await until(() => spoke.links[0]);
  const hubEnd = await until(() => hub.links.find((link) => link.sessionId === spokeEnd.sessionId));
  return { hubEnd, spokeEnd };
}

/** A TCP path between spoke and hub that can be cut, frozen, or narrowed to so many bytes per 5 ms towards the spoke. */
export class Path implements AsyncDisposable {
  private readonly server = createTcpServer({ pauseOnConnect: true }, (near) => this.join(near));
  private readonly sockets = new Set<Socket>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private isFrozen = false;

  private constructor(
    private readonly target: number,
    private readonly bytesPer5Ms: number | undefined,
  ) {}

  static async to(hub: TestHub, bytesPer5Ms?: number): Promise<Path> {
    const path = new Path(hub.port, bytesPer5Ms);
    path.server.listen(0, '127.0.0.1');
    await once(path.server, 'listening');
    return path;
  }

  get url(): string {
    return `ws://127.0.0.1:${String((this.server.address() as AddressInfo).port)}/federation/link`;
  }

  /** From now on nothing passes, and nobody is told. */
  freeze(): void {
    this.isFrozen = true;
    for (const socket of this.sockets) socket.pause();
  }

  private join(near: Socket): void {
    const far = connect(this.target, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
      from.on('data', (data: Buffer) => {
        if (!this.isFrozen) to.write(data);
      });
    }
    near.resume();
    if (this.bytesPer5Ms !== undefined) this.narrow(far, near, this.bytesPer5Ms);
  }

  /** Reads so slowly that what the hub sends piles up on its side. */
  private narrow(far: Socket, near: Socket, bytes: number): void {
    far.removeAllListeners('data');
    far.pause();
    const timer = setInterval(() => {
      const data = far.read(Math.min(bytes, far.readableLength)) as Buffer | null;
      if (data !== null && !this.isFrozen) near.write(data);
    }, 5);
    this.timers.add(timer);
    // Reading begins only once somebody asks.
    far.on('readable', () => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}

/** A man in the middle who reads and may alter each frame. */
export async function middleman(
  hub: TestHub,
  alter: (frame: Buffer, from: 'spoke' | 'hub') => Uint8Array,
): Promise<AsyncDisposable & { url: string }> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'capstan.v1' });
  await once(server, 'listening');
  server.on('connection', (near) => {
    const far = new WebSocket(hub.url, 'capstan.v1', { perMessageDeflate: false });
    const early: Uint8Array[] = [];
    far.on('open', () => early.splice(0).forEach((frame) => far.send(frame)));
    near.on('message', (data) => {
      const frame = alter(data as Buffer, 'spoke');
      if (far.readyState === far.OPEN) far.send(frame);
      else early.push(frame);
    });
    far.on('message', (data) => near.send(alter(data as Buffer, 'hub')));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('close', () => other.terminate());
      one.on('error', () => other.terminate());
    }
  });
  return {
    url: `ws://127.0.0.1:${String((server.address() as AddressInfo).port)}/federation/link`,
    async [Symbol.asyncDispose]() {
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A WebSocket that says nothing by itself; refuses to be opened only by throwing. */
export async function stranger(hub: TestHub): Promise<WebSocket & AsyncDisposable> {
  const ws = new WebSocket(hub.url, 'capstan.v1', { perMessageDeflate: false });
  ws.on('error', () => undefined);
  await once(ws, 'open');
  return Object.assign(ws, {
    async [Symbol.asyncDispose]() {
      if (ws.readyState === ws.CLOSED) return;
      ws.terminate();
      await once(ws, 'close');
    },
  });
}
