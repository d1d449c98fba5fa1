import { Injectable } from '@nestjs/common';
import { metrics } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { Gauge } from 'prom-client';
import { HubConfig } from '../hub.config.js';

/** A replica whose knowledge of revocations is older admits only kills. */
export const FRESH_MS = 1_000;

const age = new Gauge({
  name: 'capstan_revocation_age_seconds',
  help: 'Age of what this replica knows of revocations.',
  registers: [metrics.registry],
});

/**
 * How old this replica's knowledge of revocations is. Only the database can say that there was none: whoever revokes
 * commits it there. A hub without replicas revokes by itself and is always fresh.
 */
@Injectable()
export class Freshness {
  private confirmedAtMs = -Infinity;
  private readonly isReplicated: boolean;

  constructor(config: HubConfig) {
    this.isReplicated = config.valkeyUrl !== undefined;
  }

  get isFresh(): boolean {
    return !this.isReplicated || performance.now() - this.confirmedAtMs < FRESH_MS;
  }

  /** Everything is known here that was committed before `atMs` of performance.now(). */
  confirm(atMs: number): void {
    this.confirmedAtMs = atMs;
  }

  /** Asked before anything is admitted but a kill. @throws WireFault `replica-stale` */
  check(): void {
    if (!this.isFresh) throw new WireFault('replica-stale');
  }

  /** For the metrics. */
  observe(): void {
    if (this.isReplicated) age.set((performance.now() - this.confirmedAtMs) / 1_000);
  }
}
