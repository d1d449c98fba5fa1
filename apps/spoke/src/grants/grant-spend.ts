import type { HeldChain } from '@capstan/identity';
import { createLogger } from '@capstan/platform';
import { toHex, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeValkey } from '../valkey/spoke-valkey.js';
import { RELEASE, RESERVE } from './grant.scripts.js';

/** Counters outlive their grant by more than a clock that went astray is likely to be set back. */
const KEEP_AFTER_EXPIRY_MS = 30 * 24 * 3_600_000;

/** Ids match [a-z0-9-], digests are hex: these keys are unambiguous. */
const KEYS = {
  grant: (digest: string): string => `spoke:grant:${digest}`,
  order: (issuer: string, id: string): string => `spoke:grant-order:${issuer}:${id}`,
};

type OrderName = Readonly<{ issuer: string; id: string }>;

/**
 * What was spent under each grant at this instance. A spawn's whole budget is set aside before it is accepted, along the
 * whole chain, and given back only where the spawn was refused: whatever has run counts in full.
 */
@Injectable()
export class GrantSpend {
  private readonly log = createLogger('spoke.grants');

  constructor(private readonly valkey: SpokeValkey) {}

  /** @param amount millionths of a US dollar. @throws WireFault `grant-exceeded`, `queue-unavailable` */
  async reserve({ issuer, id }: OrderName, { grants }: HeldChain, amount: number): Promise<void> {
    const digests = grants.map(({ digest }) => toHex(digest));
    const keepUntil = grants.map(({ expiresAtMs }) => expiresAtMs + KEEP_AFTER_EXPIRY_MS);
    const keys = [KEYS.order(issuer, id), ...digests.map(KEYS.grant)];
    const exceeded = await this.valkey.run(RESERVE, keys, [
      amount,
      digests.join(' '),
      Math.max(...keepUntil),
      ...grants.flatMap(({ budgetMicroUsd }, at) => [String(budgetMicroUsd), keepUntil[at] ?? 0]),
    ]);
    if (exceeded !== 0) throw new WireFault('grant-exceeded', `the budget of grant ${String(exceeded)} is spent`);
  }

  /** For an order that was refused for ever; harmless where nothing was set aside. Never throws: at worst less may be spent. */
  async release({ issuer, id }: OrderName): Promise<void> {
    const order = KEYS.order(issuer, id);
    try {
      const grants = await this.valkey.ask((client) => client.hget(order, 'grants'));
      if (grants !== null) await this.valkey.run(RELEASE, [order, ...grants.split(' ').map(KEYS.grant)], []);
    } catch (error) {
      this.log.warn({ err: error, msg: 'a refused spawn still counts against its grants' });
    }
  }
}
