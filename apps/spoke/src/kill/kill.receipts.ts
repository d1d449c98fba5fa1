import { createLogger } from '@capstan/platform';
import { toHex } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Ledger } from '../ledger/ledger.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import type { OutboxItem } from '../receipts/signed-item.js';
import type { OrderRef, VerifiedCommand } from '../verify/verify-order.js';

const MOST_REMEMBERED = 2_000;
/** What a receipt waits at most to learn whether an earlier process of this spoke has made it already. */
const LOOKUP_MS = 25;

/**
 * Receipts of kills. They are sent from memory and stored besides, since a kill waits for Valkey neither before nor
 * after: where that is away, the reaper's own register makes the repetition of a kill harmless.
 */
@Injectable()
export class KillReceipts {
  private readonly log = createLogger('spoke.kill');
  private readonly remembered = new Map<string, string>();

  constructor(
    private readonly ledger: Ledger,
    private readonly outbox: OutboxSender,
  ) {}

  /** The final receipt (base64 of its envelope) that this process has made for the command. */
  of(digest: Uint8Array): string | undefined {
    return this.remembered.get(toHex(digest));
  }

  /** The final receipt in the ledger; undefined where there is none, or Valkey is away, or slow. Never throws. */
  lookUp(order: OrderRef): Promise<string | undefined> {
    const found = this.ledger.find(order).then(
      (known) => (known?.digest === toHex(order.digest) && known.receipt !== '' ? known.receipt : undefined),
      () => undefined,
    );
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), LOOKUP_MS);
    return Promise.race([found, late.promise]).finally(() => clearTimeout(timer));
  }

  /** Sends a receipt at once; `isFinal` where the command will get no other. */
  issue(order: VerifiedCommand, acceptedAtMs: number, item: OutboxItem, isFinal: boolean): void {
    this.outbox.offerUnstored(item);
    if (!isFinal) return;
    this.remember(order, item.envelope);
    this.ledger.conclude(order, acceptedAtMs, item).then(
      (recorded) => {
        if (recorded.kind === 'recorded') this.outbox.stored(item.digest);
      },
      (error: unknown) => this.log.warn({ err: error, msg: 'a kill receipt is kept in memory until it can be stored' }),
    );
  }

  remember({ digest }: OrderRef, receipt: string): void {
    this.remembered.set(toHex(digest), receipt);
    const oldest = this.remembered.keys().next();
    if (this.remembered.size > MOST_REMEMBERED && oldest.done !== true) this.remembered.delete(oldest.value);
  }
}
