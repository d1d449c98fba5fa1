import { once } from 'node:events';
import { closeValkey, createLogger, parseValkeyUrl } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Redis, ReplyError } from 'ioredis';
import { SpokeConfig } from '../config/spoke.config.js';
import type { Script } from '@capstan/platform';

/** A server that does not answer for so long counts as away. */
const COMMAND_MS = 5_000;
/** What a question waits for a server that is not connected. */
const RETURN_MS = 500;

/**
 * The spoke's Valkey. Unlike a queue's client it fails soon while the server is away: the sender of a command is
 * told to come again, and a kill never waits for this at all. The spoke starts and lives without it.
 */
@Injectable()
export class SpokeValkey implements OnApplicationShutdown {
  private readonly log = createLogger('spoke.valkey');
  private readonly client: Redis;
  private durable: Promise<boolean> = Promise.resolve(false);
  private unanswered = 0;

  constructor(config: SpokeConfig) {
    this.client = new Redis({
      ...parseValkeyUrl(config.valkeyUrl),
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: COMMAND_MS,
      connectTimeout: COMMAND_MS,
      retryStrategy: (attempt) => Math.min(50 * attempt, 1_000),
    });
    this.client.on('error', () => undefined);
    // Each question that waits for the server listens once.
    this.client.setMaxListeners(0);
    this.client.on('ready', () => {
      this.durable = this.isDurable();
      this.log.info({ msg: 'connected' });
    });
    this.client.on('close', () => this.log.warn({ msg: 'not connected' }));
  }

  /** Questions so far of whose effect nobody was told: it may have come about all the same, and is not asked for again here. */
  get doubts(): number {
    return this.unanswered;
  }

  /** Runs a script; its effects are on disk when this resolves. @throws WireFault queue-unavailable */
  async run(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return this.ask((client) => script.run(client, keys, args));
  }

  /** @throws WireFault queue-unavailable */
  async ask<T>(question: (client: Redis) => Promise<T>): Promise<T> {
    if (this.client.status !== 'ready') await this.untilReady();
    try {
      if (await this.durable) return await question(this.client);
    } catch (cause) {
      // An answer that is an error is one: nothing has come about.
      if (!(cause instanceof ReplyError)) this.unanswered += 1;
      throw new WireFault('queue-unavailable', 'Valkey', { cause });
    }
    throw new WireFault('queue-unavailable', 'Valkey keeps no append-only file');
  }

  async onApplicationShutdown(): Promise<void> {
    await closeValkey(this.client);
  }

  /** A server that is being started, or started again, is given a moment. */
  private async untilReady(): Promise<void> {
    try {
      await once(this.client, 'ready', { signal: AbortSignal.timeout(RETURN_MS) });
    } catch (cause) {
      throw new WireFault('queue-unavailable', this.client.status, { cause });
    }
  }

  /**
   * An acknowledged command must survive a power cut, so a server without AOF is not used. Whether it syncs each write
   * is asked too, where this user may ask.
   */
  private async isDurable(): Promise<boolean> {
    const info = await this.client.info('persistence');
    const policy = await this.client.config('GET', 'appendfsync').then(
      (reply) => Object.values(Array.isArray(reply) ? reply : (reply as Record<string, string>)).at(-1),
      () => 'always',
    );
    const durable = info.includes('aof_enabled:1') && policy === 'always';
    if (!durable)
      this.log.error({ msg: 'Valkey must run with appendonly yes and appendfsync always; it is not used.' });
    return durable;
  }
}
