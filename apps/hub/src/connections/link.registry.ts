import { Injectable } from '@nestjs/common';
import type { Link } from '@capstan/link';
import type { LaneName, LinkMessage } from '@capstan/protocol';
import { Presence } from '../replicas/presence.js';
import type { Connection } from './connection.js';

/** The links that are open now, one for each instance. */
@Injectable()
export class LinkRegistry {
  private readonly links = new Map<string, Link>();
  private readonly listeners: (() => void)[] = [];

  constructor(private readonly presence: Presence) {}

  /** `listener` is called after each link that came or went. */
  onChanged(listener: () => void): void {
    this.listeners.push(listener);
  }

  all(): Link[] {
    return [...this.links.values()];
  }

  get size(): number {
    return this.links.size;
  }

  /** The instance's link from now on; returns the one that it replaces. */
  enter(link: Link): Link | undefined {
    const older = this.links.get(link.peerId);
    this.links.set(link.peerId, link);
    this.changed();
    return older;
  }

  /** False where a newer link has taken its place already. */
  leave(link: Link): boolean {
    const isGone = this.links.get(link.peerId) === link && this.links.delete(link.peerId);
    this.changed();
    return isGone;
  }

  of(instanceId: string): Link | undefined {
    return this.links.get(instanceId);
  }

  /** Whether it holds a link, here or at another replica. */
  isOnline({ instanceId, keys }: Connection): boolean {
    const key = this.links.get(instanceId)?.peerKeyId ?? this.presence.of(instanceId)?.key;
    return key !== undefined && keys.get(key) !== undefined;
  }

  /** Names the link that the instance holds now, here or at another replica; undefined where it holds none. */
  sessionOf(instanceId: string): string | undefined {
    const epoch = this.links.get(instanceId)?.sessionEpoch ?? this.presence.of(instanceId)?.epoch;
    return epoch === undefined ? undefined : String(epoch);
  }

  /** Whether the message was handed to the instance's socket; false where it is away or went away meanwhile. */
  async send(instanceId: string, lane: LaneName, message: LinkMessage): Promise<boolean> {
    const link = this.links.get(instanceId);
    if (link === undefined) return false;
    try {
      await link.send(lane, message);
      return true;
    } catch {
      // The link ended; whoever must have the message gets it again on the next one.
      return false;
    }
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}
