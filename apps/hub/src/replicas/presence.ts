import { Injectable } from '@nestjs/common';
import type { HeldLink } from './bus-message.js';
import { ReplicaBus } from './replica-bus.js';

/** A replica says every second what it holds; one that says nothing for so long holds nothing. */
const GONE_MS = 3_000;
/** A renewal may have been given after what was told last. */
const TOLD_LATE_MS = 2_000;

interface Held extends HeldLink {
  replica: string;
  heardAtMs: number;
}

/** Which instances hold a link at another replica. Made anew from what the replicas say; nothing is lost with it. */
@Injectable()
export class Presence {
  private readonly held = new Map<string, Held>();
  private readonly renewed = new Map<string, number>();

  constructor(private readonly bus: ReplicaBus) {}

  /** Takes up the whole list of one replica. */
  take(replica: string, links: readonly HeldLink[]): void {
    const heardAtMs = performance.now();
    const named = new Set(links.map(({ instance }) => instance));
    for (const [instance, held] of this.held)
      if (held.replica === replica && !named.has(instance)) this.held.delete(instance);
    for (const link of links) {
      this.renewed.set(link.instance, Math.max(link.renewedAtMs, this.renewed.get(link.instance) ?? 0));
      const known = this.of(link.instance);
      const isOlder = known !== undefined && known.replica !== replica && BigInt(known.epoch) > BigInt(link.epoch);
      if (!isOlder) this.held.set(link.instance, { ...link, replica, heardAtMs });
    }
  }

  /** The link of an instance at another replica. */
  of(instance: string): Held | undefined {
    const held = this.held.get(instance);
    return held !== undefined && performance.now() - held.heardAtMs < GONE_MS ? held : undefined;
  }

  /** No other replica has renewed the instance's leases after this, milliseconds; 0 where there is no other. */
  renewedBeforeMs(instance: string): number {
    if (!this.bus.isReplicated) return 0;
    if (!this.bus.isUp) return Date.now();
    const told = this.renewed.get(instance);
    return told === undefined ? 0 : Math.min(Date.now(), told + TOLD_LATE_MS);
  }
}
