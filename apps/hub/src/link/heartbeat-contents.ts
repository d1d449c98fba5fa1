import { Injectable } from '@nestjs/common';
import type { HeartbeatContent, Heartbeats, Link, LinkPeer } from '@capstan/link';
import { createLogger } from '@capstan/platform';

type Part = (instanceId: string, peer: LinkPeer) => Partial<HeartbeatContent>;
type Reader = (link: Link, heartbeat: Heartbeats) => void;

/** What the hub says in each heartbeat, and who hears those of the instances. Each field has one room that fills it. */
@Injectable()
export class HeartbeatContents {
  private readonly log = createLogger('hub.heartbeat');
  private readonly parts: Part[] = [];
  private readonly readers: Reader[] = [];

  /** `part` is asked for each heartbeat to an instance, and for the epochs of its Welcome: it must be cheap. */
  register(part: Part): void {
    this.parts.push(part);
  }

  /** `reader` hears each heartbeat of an instance; what stands in it is the instance's word and not yet checked. */
  onReceived(reader: Reader): void {
    this.readers.push(reader);
  }

  /** Never throws: a part that fails is left out, since the heart must beat. */
  content(peer: LinkPeer): HeartbeatContent {
    const content: HeartbeatContent = { revocationEpoch: 0n, killEpochs: [] };
    for (const part of this.parts) {
      try {
        Object.assign(content, part(peer.peerId, peer));
      } catch (err) {
        this.log.error({ err, instance: peer.peerId, msg: 'a part of a heartbeat is missing' });
      }
    }
    return content;
  }

  /** Never throws: one reader's fault is not the link's, nor another reader's. */
  received(link: Link, heartbeat: Heartbeats): void {
    for (const reader of this.readers) {
      try {
        reader(link, heartbeat);
      } catch (err) {
        this.log.warn({ err, instance: link.peerId, msg: 'a heartbeat was not read' });
      }
    }
  }
}
