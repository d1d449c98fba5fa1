import type { Link } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import { type Rejection, toHex } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { OutboxSession } from './outbox-session.js';
import { OutboxStore } from './outbox.store.js';
import type { OutboxItem } from './signed-item.js';

/** Kill receipts that could not be stored because Valkey is away. */
const MOST_UNSTORED = 10_000;
const MOST_DROPPED_AT_ONCE = 1_000;

/** Sends what is in the outbox until the hub has acknowledged it; all of it again on each new link. */
@Injectable()
export class OutboxSender {
  private readonly log = createLogger('spoke.outbox');
  private readonly unstored = new Map<string, OutboxItem>();
  private readonly answered = new Set<string>();
  private session: OutboxSession | undefined;
  private dropping: Promise<void> | undefined;
  private mustRewind = false;
  private doubtsSeen = 0;

  constructor(
    private readonly store: OutboxStore,
    private readonly audit: Audit,
  ) {}

  /** A new link: everything that is not acknowledged goes over it. */
  attach(link: Link): void {
    const session = new OutboxSession(link, this.store);
    this.session = session;
    for (const item of this.unstored.values()) void session.sendNow(item);
    void session.ended.then(() => {
      if (this.session === session) this.session = undefined;
    });
  }

  /** Sends an item that is in the store now. */
  offer(item: OutboxItem): void {
    this.session?.offer(item);
  }

  /** Keeps an item in memory until it is stored or acknowledged, and sends it at once: nothing is waited for. */
  offerUnstored(item: OutboxItem): void {
    if (this.unstored.size < MOST_UNSTORED) this.unstored.set(item.digest, item);
    else this.log.error({ msg: 'receipt not kept: too many could not be stored', digest: item.digest });
    void this.session?.sendNow(item);
  }

  /** The item is in the store now. */
  stored(digest: string): void {
    this.unstored.delete(digest);
  }

  /** The hub has it on disk. */
  acknowledged(digest: Uint8Array): void {
    this.done(toHex(digest));
  }

  /** The hub will not have it. One that a repetition cannot help is dropped; the ledger and the audit log keep it. */
  rejected(rejection: Rejection): void {
    const digest = toHex(rejection.digest);
    const { code, retryable } = rejection;
    this.log.warn({ msg: 'the hub refused an envelope', digest, code, retryable });
    if (retryable) {
      this.mustRewind = true;
      this.session?.answered(digest);
      return;
    }
    this.audit.noteSome({ kind: 'outbox.rejected', subject: digest, detail: { code } });
    this.done(digest);
  }

  /**
   * Stores what could not be stored before, and sends again what the hub could not take; and what nobody knows to be in the
   * store, because the reply of the step that has put it there was lost.
   *
   * @throws WireFault queue-unavailable
   */
  async sweep(): Promise<void> {
    for (const item of [...this.unstored.values()]) {
      await this.store.put(item);
      this.unstored.delete(item.digest);
    }
    const { doubts } = this.store;
    if (!this.mustRewind && doubts === this.doubtsSeen) return;
    this.mustRewind = false;
    this.doubtsSeen = doubts;
    this.session?.rewind();
  }

  private done(digest: string): void {
    this.session?.answered(digest);
    this.unstored.delete(digest);
    this.answered.add(digest);
    this.dropping ??= this.drop();
  }

  /** What is acknowledged while one step runs goes together into the next. */
  private async drop(): Promise<void> {
    await Promise.resolve();
    try {
      while (this.answered.size > 0) {
        const digests = [...this.answered].slice(0, MOST_DROPPED_AT_ONCE);
        await this.store.drop(digests);
        for (const digest of digests) {
          this.answered.delete(digest);
          this.session?.forget(digest);
        }
      }
    } catch (error) {
      // They stay in the store, are sent once more on the next link, and are acknowledged again.
      this.log.warn({ err: error, msg: 'acknowledged items could not be dropped' });
      this.answered.clear();
    } finally {
      this.dropping = undefined;
    }
  }
}
