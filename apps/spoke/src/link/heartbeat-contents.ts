import type { HeartbeatContent, Heartbeats, Link } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import { Injectable } from '@nestjs/common';

type Part = () => Partial<HeartbeatContent>;
type Reader = (link: Link, heartbeat: Heartbeats) => void;

/** What the spoke says in each heartbeat, and who hears the hub's. Each field has one room that fills it. */
@Injectable()
export class HeartbeatContents {
  private readonly log = createLogger('spoke.heartbeat');
  private readonly parts: Part[] = [];
  private readonly readers: Reader[] = [];

  /** `part` is asked for each heartbeat: it must be cheap. */
  register(part: Part): void {
    this.parts.push(part);
  }

  /** `reader` hears each heartbeat of the hub, and first its Welcome's epochs; nothing in it is checked yet. */
  onReceived(reader: Reader): void {
    this.readers.push(reader);
  }

  /** Never throws: a part that fails is left out, since the heart must beat. */
  content(): HeartbeatContent {
    const content: HeartbeatContent = { revocationEpoch: 0n, killEpochs: [] };
    for (const part of this.parts) {
      try {
        Object.assign(content, part());
      } catch (err) {
        this.log.error({ err, msg: 'a part of a heartbeat is missing' });
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
        this.log.warn({ err, msg: 'a heartbeat was not read' });
      }
    }
  }
}
