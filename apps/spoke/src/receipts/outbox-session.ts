import { setTimeout as sleep } from 'node:timers/promises';
import type { Link } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import { create, decodeEnvelope, fromBase64, type LinkMessage, LinkMessageSchema } from '@capstan/protocol';
import type { OutboxStore } from './outbox.store.js';
import type { OutboxItem } from './signed-item.js';

/** Items on their way to the hub that it has not acknowledged; more wait. */
const MOST_IN_FLIGHT = 256;
/** Items that are sent from memory; beyond it they are read from the store when their turn comes. */
const MOST_LIVE = 1_024;
const BATCH = 64;
const STORE_PAUSE_MS = 500;

/**
 * Sends the outbox over one link, in its order, one item after the other: first what is in the store, then what is
 * added, as long as that goes from memory. Only kill receipts are sent out of turn.
 */
export class OutboxSession {
  private readonly log = createLogger('spoke.outbox');
  private readonly sent = new Set<string>();
  private readonly inFlight = new Set<string>();
  private live: OutboxItem[] = [];
  private sequence = 0;
  /** True while everything in the store was sent, or is in `live`. */
  private isCaughtUp = false;
  /** Something was added to the store since it was last read to its end. */
  private hasMore = false;
  private isEnded = false;
  private wake: () => void = () => undefined;
  readonly ended: Promise<void>;

  constructor(
    private readonly link: Link,
    private readonly store: OutboxStore,
  ) {
    void link.closed.then(() => {
      this.isEnded = true;
      this.wake();
    });
    this.ended = this.run();
  }

  /** An item that is in the store now. */
  offer(item: OutboxItem): void {
    if (this.isCaughtUp && this.live.length < MOST_LIVE) this.live.push(item);
    else {
      this.isCaughtUp = false;
      this.hasMore = true;
    }
    this.wake();
  }

  /** Sends an item before all others. */
  async sendNow(item: OutboxItem): Promise<void> {
    if (this.sent.has(item.digest)) return;
    this.sent.add(item.digest);
    await this.put(item);
  }

  /** The hub has answered: the item's place is free. */
  answered(digest: string): void {
    if (this.inFlight.delete(digest)) this.wake();
  }

  /** The item is gone from the store. */
  forget(digest: string): void {
    this.sent.delete(digest);
  }

  /** Sends what is in the store again, the items in flight aside. */
  rewind(): void {
    for (const digest of this.sent) if (!this.inFlight.has(digest)) this.sent.delete(digest);
    this.sequence = 0;
    this.isCaughtUp = false;
    this.wake();
  }

  private async run(): Promise<void> {
    while (!this.isEnded) {
      const next = this.live.shift();
      if (next !== undefined) await this.sendInTurn(next);
      else if (this.isCaughtUp) await this.somethingNew();
      else await this.readStore();
    }
  }

  private async readStore(): Promise<void> {
    try {
      const page = await this.store.after(this.sequence, BATCH);
      if (page !== undefined) {
        for (const item of page.items) await this.sendInTurn(item);
        this.sequence = page.last;
      } else if (this.hasMore) this.hasMore = false;
      else this.isCaughtUp = true;
    } catch (error) {
      this.log.debug({ err: error, msg: 'the outbox cannot be read; it is tried again' });
      await Promise.race([sleep(STORE_PAUSE_MS), this.link.closed]);
    }
  }

  private async sendInTurn(item: OutboxItem): Promise<void> {
    if (this.sent.has(item.digest)) return;
    this.sent.add(item.digest);
    while (this.inFlight.size >= MOST_IN_FLIGHT && !this.isEnded) await this.somethingNew();
    await this.put(item);
  }

  private async put(item: OutboxItem): Promise<void> {
    this.inFlight.add(item.digest);
    try {
      await this.link.send(item.lane, envelopeMessage(item));
    } catch (error) {
      // The link is gone, and the next one starts from the store; or the item cannot be sent at all.
      this.log.debug({ err: error, msg: 'not sent', digest: item.digest });
      this.inFlight.delete(item.digest);
    }
  }

  private somethingNew(): Promise<void> {
    return new Promise((resolve) => (this.wake = resolve));
  }
}

function envelopeMessage({ envelope }: OutboxItem): LinkMessage {
  const value = decodeEnvelope(fromBase64(envelope));
  return create(LinkMessageSchema, { body: { case: 'envelope', value } });
}
