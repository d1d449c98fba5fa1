import { WireFault } from '@capstan/protocol';

/** What one instance may have on its way to the disk of answers to kills: a few thousand; the journal of kills holds more. */
const MOST_BYTES = 1024 * 1024;

/** Receipts that are being taken: each once, however often its instance repeats it, and of one instance not too many. */
export class ReceiptsInHand {
  private readonly taking = new Map<string, Promise<void>>();
  private readonly bytes = new Map<string, number>();

  /** Settles as the first taking of this receipt does. */
  once(digest: string, take: () => Promise<void>): Promise<void> {
    const known = this.taking.get(digest);
    if (known !== undefined) return known;
    const taken = take().finally(() => this.taking.delete(digest));
    this.taking.set(digest, taken);
    return taken;
  }

  /** Counts `size` bytes for the instance until `write` settles. @throws WireFault `queue-unavailable` where it is too much */
  async counted(instance: string, size: number, write: () => Promise<void>): Promise<void> {
    const before = this.bytes.get(instance) ?? 0;
    if (before > 0 && before + size > MOST_BYTES) throw new WireFault('queue-unavailable', `receipts of ${instance}`);
    this.bytes.set(instance, before + size);
    try {
      await write();
    } finally {
      const left = (this.bytes.get(instance) ?? 0) - size;
      if (left > 0) this.bytes.set(instance, left);
      else this.bytes.delete(instance);
    }
  }
}
