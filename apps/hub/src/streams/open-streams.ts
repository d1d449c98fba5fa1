import type { ServerResponse } from 'node:http';
import { createLogger } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { EventStream } from './event-stream.js';

/** Streams that are open at once; each holds a socket and asks for work. */
const MOST_STREAMS = 256;

/** The answers that go on: bounded in number, and ended before the server closes. */
@Injectable()
export class OpenStreams implements OnModuleDestroy {
  private readonly log = createLogger('hub.streams');
  private readonly closing = new AbortController();
  private count = 0;

  /**
   * Runs `prepare`, whose faults are still problem documents, then answers with a stream that `tell` fills until it
   * returns, the reader is gone, or the hub closes.
   *
   * @throws WireFault `too-many-connections`, and whatever `prepare` throws
   */
  async serve<T>(
    response: ServerResponse,
    prepare: () => Promise<T>,
    tell: (stream: EventStream, prepared: T) => Promise<void>,
  ): Promise<void> {
    if (this.count >= MOST_STREAMS) throw new WireFault('too-many-connections', 'streams');
    this.count += 1;
    try {
      const prepared = await prepare();
      using stream = new EventStream(response, this.closing.signal);
      await tell(stream, prepared).catch((error: unknown) => {
        if (!stream.signal.aborted) this.log.warn({ err: error, msg: 'a stream broke off' });
      });
    } finally {
      this.count -= 1;
    }
  }

  onModuleDestroy(): void {
    this.closing.abort();
  }
}
