import { Injectable } from '@nestjs/common';
import type { Link } from '@capstan/link';
import type { LaneName, LinkMessage } from '@capstan/protocol';
import type { Connection } from './connection.js';

/** The links that are open now, one for each instance. */
@Injectable()
export class LinkRegistry {
  private readonly links = new Map<string, Link>();

  get size(): number {
    return this.links.size;
  }

  /** The instance's link from now on; returns the one that it replaces. */
  enter(link: Link): Link | undefined {
    const older = this.links.get(link.peerId);
    this.links.set(link.peerId, link);
    return older;
  }

  /** False where a newer link has taken its place already. */
  leave(link: Link): boolean {
    return this.links.get(link.peerId) === link && this.links.delete(link.peerId);
  }

  of(instanceId: string): Link | undefined {
    return this.links.get(instanceId);
  }

  isOnline({ instanceId, identityKey }: Connection): boolean {
    return this.links.get(instanceId)?.peerKeyId === identityKey.keyId;
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
}
