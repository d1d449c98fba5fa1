import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

/** A comment now and then keeps proxies and idle timers quiet, and finds readers that are gone. */
const KEEPALIVE_MS = 15_000;
/** A reader that takes nothing for so long is cut off; it comes back with its cursor. */
const STALL_MS = 30_000;

/** One event of a text/event-stream (WHATWG HTML, section 9.2). */
export interface StreamedEvent {
  /** What a reader sends as Last-Event-ID to go on behind this event; left out where it moves no cursor. */
  id?: string;
  event: string;
  data: unknown;
}

/** An answer that goes on as server-sent events, one at a time: nothing is buffered beyond what the socket takes. */
export class EventStream implements Disposable {
  /** Aborted once the reader is gone, was cut off, or the hub closes. */
  readonly signal: AbortSignal;
  private readonly gone = new AbortController();
  private readonly keepalive: NodeJS.Timeout;

  constructor(
    private readonly response: ServerResponse,
    closing: AbortSignal,
    private readonly stallMs = STALL_MS,
  ) {
    response.once('close', () => this.gone.abort());
    this.signal = AbortSignal.any([this.gone.signal, closing]);
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      connection: 'keep-alive',
      'x-accel-buffering': 'no',
    });
    response.write(': open\n\n');
    this.keepalive = setInterval(() => {
      if (!response.writableNeedDrain) response.write(': alive\n\n');
    }, KEEPALIVE_MS);
  }

  /** Resolves once the reader's socket takes more; a reader that stalls is cut off, and `signal` says so. */
  async send({ id, event, data }: StreamedEvent): Promise<void> {
    if (this.signal.aborted) return;
    const cursor = id === undefined ? '' : `id: ${id}\n`;
    if (this.response.write(`${cursor}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)) return;
    const signal = AbortSignal.any([this.signal, AbortSignal.timeout(this.stallMs)]);
    await once(this.response, 'drain', { signal }).catch(() => {
      this.gone.abort();
      this.response.destroy();
    });
  }

  [Symbol.dispose](): void {
    clearInterval(this.keepalive);
    this.gone.abort();
    this.response.end();
  }
}
