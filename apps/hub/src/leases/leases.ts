import { Injectable } from '@nestjs/common';
import { LIMITS } from '@capstan/protocol';
import { LEASE_MS, LeaseRenewals } from './lease-renewals.js';
import { LeaseTerms } from './lease-terms.js';

/** A renewal is taken no later than this after it was signed, where the clocks differ by no more than is borne. */
const ON_THE_WAY_MS = LIMITS.renewalLifetimeMs + LIMITS.clockSkewMs;
/** From the end of a lease to the death: the reaper's next look, its restart should it be down, and the kill. */
const DEATH_MS = 5_000;

/** By when agents are dead of whom nothing is heard any more; docs/reliability.md has the formula and what it assumes. */
@Injectable()
export class Leases {
  constructor(
    private readonly renewals: LeaseRenewals,
    private readonly terms: LeaseTerms,
  ) {}

  /**
   * The time by which no agent of the instance lives, if it gets no further renewal from this hub. Null where that is
   * not so: one of them was told to live on without the hub, or was started by the instance's owner.
   */
  leasesEndAt(instanceId: string): Date | null {
    let longestMs = 0;
    for (const { killAfterMs } of this.terms.on(instanceId)) {
      if (killAfterMs === null) return null;
      longestMs = Math.max(longestMs, killAfterMs);
    }
    return this.endsAt(instanceId, longestMs);
  }

  /** The same of one agent; null where it needs no renewal, or lives no longer. */
  leaseEndsAt(agentId: string): Date | null {
    const terms = this.terms.of(agentId);
    if (terms === undefined || terms.killAfterMs === null) return null;
    return this.endsAt(terms.instance, terms.killAfterMs);
  }

  private endsAt(instance: string, killAfterMs: number): Date {
    const withoutMs = Math.min(LEASE_MS, killAfterMs);
    return new Date(this.renewals.lastByAnyMs(instance) + ON_THE_WAY_MS + withoutMs + DEATH_MS);
  }
}
