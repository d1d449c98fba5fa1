import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { LinkRegistry } from '../connections/link.registry.js';
import { LeaseRenewals } from '../leases/lease-renewals.js';
import type { HeldLink } from './bus-message.js';
import { Freshness } from './freshness.js';
import { Presence } from './presence.js';
import { ReplicaBus } from './replica-bus.js';

const SAY_MS = 1_000;

/** Says which links are held here, and closes one that the instance has replaced by a newer one elsewhere. */
@Injectable()
export class PresenceAnnouncer implements OnApplicationBootstrap, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly bus: ReplicaBus,
    private readonly presence: Presence,
    private readonly freshness: Freshness,
    private readonly links: LinkRegistry,
    private readonly renewals: LeaseRenewals,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.bus.isReplicated) return;
    this.bus.on('links', ({ links }, from) => {
      this.presence.take(from, links);
      for (const link of links) this.supersede(link);
    });
    this.links.onChanged(() => {
      this.say();
    });
    this.timer = setInterval(() => {
      this.say();
      this.bus.observe();
      this.freshness.observe();
    }, SAY_MS);
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
    if (this.bus.isReplicated) this.bus.publish({ kind: 'links', links: [] });
  }

  private say(): void {
    const links = this.links.all().map((link) => ({
      instance: link.peerId,
      key: link.peerKeyId,
      epoch: String(link.sessionEpoch),
      renewedAtMs: this.renewals.lastAtMs(link.peerId),
    }));
    this.bus.publish({ kind: 'links', links });
  }

  private supersede({ instance, epoch }: HeldLink): void {
    const own = this.links.of(instance);
    if (own === undefined || own.sessionEpoch >= BigInt(epoch)) return;
    void own.close('closed', 'The instance has opened a newer link.');
  }
}
