import type { HeartbeatContent, Heartbeats, Link, LinkPeer } from './link.js';

type Part = (instanceId: string, peer: LinkPeer) => Partial<HeartbeatContent>;
type Reader = (link: Link, heartbeat: Heartbeats) => void;

/** Where faults go. */
interface Log {
  error(event: object): void;
  warn(event: object): void;
}

/** What one side says in each heartbeat, and who hears the other side's. Each field has one room that fills it. */
export class HeartbeatContents {
  private readonly parts: Part[] = [];
  private readonly readers: Reader[] = [];

  constructor(private readonly log: Log) {}

  /** `part` is asked for each heartbeat to a peer, at the hub also for the epochs of its Welcome: it must be cheap. */
  register(part: Part): void {
    this.parts.push(part);
  }

  /**
   * `reader` hears each heartbeat of the other side, and what is said with `welcomed`; what stands in it is that side's
   * word and not yet checked.
   */
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
        this.log.error({ err, peer: peer.peerId, msg: 'a part of a heartbeat is missing' });
      }
    }
    return content;
  }

  /** The epochs of a link's Welcome are heard like its first heartbeat. */
  welcomed(link: Link): void {
    const { serverTimeMs, revocationEpoch, killEpochs } = link.welcome;
    this.received(link, { sentAtMs: Number(serverTimeMs), revocationEpoch, killEpochs });
  }

  /** Never throws: one reader's fault is not the link's, nor another reader's. */
  received(link: Link, heartbeat: Heartbeats): void {
    for (const reader of this.readers) {
      try {
        reader(link, heartbeat);
      } catch (err) {
        this.log.warn({ err, peer: link.peerId, msg: 'a heartbeat was not read' });
      }
    }
  }
}
