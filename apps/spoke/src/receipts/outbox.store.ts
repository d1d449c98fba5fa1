import { Injectable } from '@nestjs/common';
import { KEYS } from '../ledger/keys.js';
import { DROP_ITEMS, PUT_ITEM } from '../ledger/ledger.scripts.js';
import { SpokeValkey } from '../valkey/spoke-valkey.js';
import type { OutboxItem } from './signed-item.js';

/** What was signed and is not yet acknowledged by the hub, on disk, in the order in which it was put there. */
@Injectable()
export class OutboxStore {
  constructor(private readonly valkey: SpokeValkey) {}

  /** Grows with each step that may have put an item here without anybody's having been told. */
  get doubts(): number {
    return this.valkey.doubts;
  }

  /** @throws WireFault queue-unavailable, as all of these */
  async put(item: OutboxItem): Promise<void> {
    const keys = [KEYS.outboxOrder, KEYS.outboxItems, KEYS.outboxSequence];
    await this.valkey.run(PUT_ITEM, keys, [item.digest, JSON.stringify(item)]);
  }

  async drop(digests: readonly string[]): Promise<void> {
    if (digests.length > 0) await this.valkey.run(DROP_ITEMS, [KEYS.outboxOrder, KEYS.outboxItems], digests);
  }

  async size(): Promise<number> {
    return this.valkey.ask((client) => client.zcard(KEYS.outboxOrder));
  }

  /** The items after a sequence, oldest first, and the sequence to go on from; undefined when there is none. */
  async after(sequence: number, most: number): Promise<{ items: OutboxItem[]; last: number } | undefined> {
    return this.valkey.ask(async (client) => {
      const digests = await client.zrange(
        KEYS.outboxOrder,
        `(${String(sequence)}`,
        '+inf',
        'BYSCORE',
        'LIMIT',
        0,
        most,
      );
      const final = digests.at(-1);
      if (final === undefined) return undefined;
      const [texts, score] = await Promise.all([
        client.hmget(KEYS.outboxItems, ...digests),
        client.zscore(KEYS.outboxOrder, final),
      ]);
      // One that was acknowledged in between is simply gone.
      const items = texts.filter((text) => text !== null).map((text) => JSON.parse(text) as OutboxItem);
      return { items, last: Number(score ?? sequence + digests.length) };
    });
  }
}
