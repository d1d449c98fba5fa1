import { createLogger } from '@capstan/platform';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { SpawnOfferer } from '../commands/spawn.offerer.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { SecretReturns } from '../secrets/secret-returns.js';
import { Ledger } from './ledger.js';

const EVERY_MS = 2_000;

/** Repeats unfinished steps: offers that nobody pursues, items that were not sent; and forgets what may be forgotten. */
@Injectable()
export class Sweep implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = createLogger('spoke.sweep');
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private isStopped = false;

  constructor(
    private readonly offerer: SpawnOfferer,
    private readonly outbox: OutboxSender,
    private readonly ledger: Ledger,
    private readonly secrets: SecretReturns,
  ) {}

  onApplicationBootstrap(): void {
    this.running = this.sweep();
  }

  async onModuleDestroy(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private async sweep(): Promise<void> {
    try {
      await this.offerer.sweep();
      await this.outbox.sweep();
      await this.ledger.prune();
      await this.secrets.sweep();
    } catch (error) {
      this.log.debug({ err: error, msg: 'not swept' });
    }
    if (this.isStopped) return;
    this.timer = setTimeout(() => {
      this.running = this.sweep();
    }, EVERY_MS);
  }
}
