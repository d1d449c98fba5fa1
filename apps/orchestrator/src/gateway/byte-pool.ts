import { ApiFault } from './api-fault.js';

/** Memory that requests hold; an agent that asks slowly, or much at once, cannot take more than its part. */
export class BytePool {
  private held = 0;

  /** @param limit bytes. @param parent from which this part is taken. */
  constructor(
    private readonly limit: number,
    private readonly parent?: BytePool,
  ) {}

  /** What one request holds, until it is disposed of. */
  lease(): ByteLease {
    return new ByteLease(this);
  }

  /** @throws {ApiFault} `rate_limit_error` where there is no room now */
  take(bytes: number): void {
    if (this.held + bytes > this.limit) throw new ApiFault('rate_limit_error', 'too much is asked at once');
    this.parent?.take(bytes);
    this.held += bytes;
  }

  give(bytes: number): void {
    this.held -= bytes;
    this.parent?.give(bytes);
  }
}

export class ByteLease implements Disposable {
  private bytes = 0;

  constructor(private readonly pool: BytePool) {}

  /** @throws {ApiFault} `rate_limit_error` */
  grow(bytes: number): void {
    this.pool.take(bytes);
    this.bytes += bytes;
  }

  [Symbol.dispose](): void {
    this.pool.give(this.bytes);
    this.bytes = 0;
  }
}
