import { type ServerSentEvent, serverSentEvents } from '@capstan/protocol';
import { until } from '../../../test/support/until.js';
import type { TestHub } from './test-hub.js';

/** Somebody who reads a stream of the hub, and remembers every event. */
export class StreamReader implements AsyncDisposable {
  readonly events: ServerSentEvent[] = [];
  isEnded = false;
  private readonly leaving = new AbortController();
  private readonly reading: Promise<void>;

  private constructor(response: Response) {
    this.reading = this.read(response).catch(() => undefined);
  }

  /** @param after as Last-Event-ID, which is what a reader sends that comes back. */
  static async open(hub: TestHub, path: string, after?: string): Promise<StreamReader> {
    const leaving = new AbortController();
    const headers = {
      authorization: `Bearer ${hub.token}`,
      ...(after === undefined ? {} : { 'last-event-id': after }),
    };
    const response = await fetch(`${hub.url}/api/v1/federation/${path}`, { headers, signal: leaving.signal });
    if (response.status !== 200) throw new Error(`${String(response.status)} ${await response.text()}`);
    const reader = new StreamReader(response);
    reader.leaving.signal.addEventListener('abort', () => leaving.abort());
    return reader;
  }

  /** The id of the last event: where to go on. */
  get cursor(): string {
    return this.events.at(-1)?.id ?? '';
  }

  of(...kinds: string[]): ServerSentEvent[] {
    return this.events.filter(({ event }) => kinds.includes(event));
  }

  /** Sequences of all lines, in the order in which they came. */
  get sequences(): number[] {
    return this.of('lines').flatMap(({ data }) =>
      (JSON.parse(data) as { lines: { sequence: number }[] }).lines.map(({ sequence }) => sequence),
    );
  }

  next<T>(what: string, ask: (reader: this) => T | undefined | false): Promise<T> {
    return until(what, () => ask(this));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leaving.abort();
    await this.reading;
  }

  private async read(response: Response): Promise<void> {
    const body = response.body as unknown as AsyncIterable<Uint8Array>;
    for await (const event of serverSentEvents(body)) this.events.push(event);
    this.isEnded = true;
  }
}
