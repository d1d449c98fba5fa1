import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { closeValkey, connectValkey, createLogger, metrics } from '@capstan/platform';
import { Counter, Gauge } from 'prom-client';
import { HubConfig } from '../hub.config.js';
import { HubIdentity } from '../identity/hub-identity.js';
import type { BusKind, BusMessage, MessageOf } from './bus-message.js';
import { type BusRefusal, BusSeal } from './bus-seal.js';

type Client = Awaited<ReturnType<typeof connectValkey>>;
type Handler = (message: BusMessage, from: string) => void;

const RETRY_MS = 500;
/** Each replica says something every second, and hears itself. */
const SILENT_MS = 3_000;
/** Whoever floods the bus does not flood the log. */
const TELL_MS = 10_000;

const up = new Gauge({
  name: 'capstan_bus_up',
  help: 'Whether replicas hear each other.',
  registers: [metrics.registry],
});
const refused = new Counter({
  name: 'capstan_bus_refused_total',
  help: 'Messages on the bus that were dropped: not of a replica of this hub, repeated, old, or of a kind that is unknown.',
  labelNames: ['why'],
  registers: [metrics.registry],
});

/** Brings messages to the other replicas as long as Valkey is there. Nothing waits for it and nothing is kept in it. */
@Injectable()
export class ReplicaBus implements OnModuleInit, OnApplicationShutdown {
  private readonly log = createLogger('hub.bus');
  private readonly handlers = new Map<BusKind, Handler[]>();
  private readonly channel: string;
  private readonly clients: Client[] = [];
  private sender: Client | undefined;
  private readonly seal: BusSeal;
  private heardAtMs = -Infinity;
  private toldAtMs = -Infinity;
  private untold = 0;
  private retry: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(
    private readonly config: HubConfig,
    identity: HubIdentity,
  ) {
    this.seal = new BusSeal(identity);
    this.channel = `capstan:${config.hubId}:replicas`;
  }

  /** Whether there may be other replicas. */
  get isReplicated(): boolean {
    return this.config.valkeyUrl !== undefined;
  }

  /** Whether messages come through now. */
  get isUp(): boolean {
    return performance.now() - this.heardAtMs < SILENT_MS;
  }

  onModuleInit(): void {
    if (this.config.valkeyUrl !== undefined) void this.connect(this.config.valkeyUrl);
  }

  async onApplicationShutdown(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.retry);
    await Promise.all(this.clients.map((client) => closeNow(client)));
  }

  /** `handle` is called for each message of this kind that another replica has sent. */
  on<K extends BusKind>(kind: K, handle: (message: MessageOf<K>, from: string) => void): void {
    const known = this.handlers.get(kind) ?? [];
    this.handlers.set(kind, [...known, handle as Handler]);
  }

  /** Sends where it can; never throws, and nobody learns whether it arrived. */
  publish(message: BusMessage): void {
    if (this.sender?.status !== 'ready') return;
    this.sender.publish(this.channel, this.seal.seal(message)).catch(() => undefined);
  }

  private async connect(url: string): Promise<void> {
    try {
      const listener = await this.client(url, { autoResubscribe: false });
      listener.on('message', (_channel, text) => this.hear(text));
      await listener.subscribe(this.channel);
      // The library would do it too, but a Valkey that goes away in that moment is a rejection there that nobody catches.
      listener.on('ready', () => {
        listener.subscribe(this.channel).catch(() => {
          if (!this.isStopped) listener.disconnect(true);
        });
      });
      this.sender = await this.client(url);
    } catch (err) {
      if (this.isStopped) return;
      this.log.warn({ err, msg: 'Valkey is away: replicas hear of each other by the database' });
      await Promise.all(this.clients.splice(0).map((client) => closeNow(client)));
      this.retry = setTimeout(() => void this.connect(url), RETRY_MS);
    }
  }

  private async client(url: string, options: Parameters<typeof connectValkey>[1] = {}): Promise<Client> {
    // What was not sent while Valkey was away is old news when it is back.
    const client = await connectValkey(url, { enableOfflineQueue: false, connectTimeout: 2_000, ...options });
    this.clients.push(client);
    if (this.isStopped) await closeNow(client);
    return client;
  }

  private hear(text: string): void {
    const opened = this.seal.open(text);
    if (opened.is === 'refused') {
      this.refuse(opened.why);
      return;
    }
    this.heardAtMs = performance.now();
    if (opened.is === 'own') return;
    const { from, message } = opened;
    for (const handle of this.handlers.get(message.kind) ?? []) {
      try {
        handle(message, from);
      } catch (err) {
        this.log.warn({ err, kind: message.kind, from, msg: 'a message of a replica was not taken' });
      }
    }
  }

  private refuse(why: BusRefusal): void {
    refused.inc({ why });
    this.untold += 1;
    if (performance.now() - this.toldAtMs < TELL_MS) return;
    this.log.warn({ why, messages: this.untold, msg: 'somebody writes to the bus who is no replica, or repeats them' });
    this.toldAtMs = performance.now();
    this.untold = 0;
  }

  /** For the metrics. */
  observe(): void {
    up.set(this.isUp ? 1 : 0);
  }
}

/** A Valkey that hangs must not hold up the end. */
async function closeNow(client: Client): Promise<void> {
  const late = new Promise<void>((resolve) => setTimeout(resolve, 200).unref());
  await Promise.race([closeValkey(client), late]);
  client.disconnect();
}
