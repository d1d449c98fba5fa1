import { checkGrantTime, commandGrants } from '@capstan/identity';
import { createLogger } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { Ledger } from '../ledger/ledger.js';
import { Origins } from '../routing/origins.js';
import type { VerifiedCommand } from '../verify/verify-order.js';

/** A kill waits no longer than this to learn whose agent it is for. */
const LOOK_UP_MS = 50;

/** The step after the signature, for commands that claim grants: whether the whole chain covers what is ordered. */
@Injectable()
export class Grants {
  private readonly log = createLogger('spoke.grants');

  constructor(
    private readonly origins: Origins,
    private readonly ledger: Ledger,
    private readonly config: SpokeConfig,
  ) {}

  /**
   * The command with the grants that cover it, or as it was where it claims none. A chain that has expired makes the
   * command late: a duplicate is still answered. For kills no clock counts.
   *
   * @throws WireFault as `commandGrants`; LocalFault `trust-file-…`
   */
  async checked(order: VerifiedCommand): Promise<VerifiedCommand> {
    if (order.header.grantChain.length === 0) return order;
    const grants = commandGrants(order, await this.origins.operatorKeys());
    if (grants === undefined) return order;
    const { body } = order;
    if (body.case === 'kill' || body.case === 'status') await this.checkTenant(order);
    const late = order.late ?? (body.case === 'kill' ? undefined : this.lateness(grants));
    return { ...order, grants, late };
  }

  private lateness(grants: Parameters<typeof checkGrantTime>[0]): WireFault | undefined {
    try {
      checkGrantTime(grants, this.config.now());
      return undefined;
    } catch (error) {
      if (error instanceof WireFault) return error;
      throw error;
    }
  }

  /**
   * An agent that is known to be of another tenant is out of reach, whatever tenant the command names. A kill must not
   * depend on a store: where that does not answer at once, the kill goes on.
   */
  private async checkTenant(order: VerifiedCommand): Promise<void> {
    const tenant = await this.tenantOf(order.agentId);
    if (tenant !== undefined && tenant !== order.tenant) throw new WireFault('grant-exceeded', `an agent of ${tenant}`);
  }

  private async tenantOf(agentId: string): Promise<string | undefined> {
    const { promise: tooLate, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), LOOK_UP_MS);
    const known = this.ledger.spawnOf(agentId).then(
      (spawn) => spawn?.order.tenant,
      (error: unknown) => {
        this.log.warn({ err: error, msg: 'whose agent it is could not be asked' });
        return undefined;
      },
    );
    try {
      return await Promise.race([known, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }
}
