import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { streamedCall } from './upstream.ts';

/**
 * A model that lets nobody go on before it is told to, so that all who have asked are known to live at the same time. Each
 * then writes a file and submits.
 */
export class Rally implements AsyncDisposable {
  private readonly server = createServer((request, response) => {
    void text(request).then((body) => this.take(JSON.parse(body) as { messages: unknown[] }, response));
  });
  private readonly waiting: ServerResponse[] = [];

  static async start(): Promise<Rally> {
    const rally = new Rally();
    rally.server.listen(0, '127.0.0.1');
    await once(rally.server, 'listening');
    return rally;
  }

  get url(): string {
    return `http://127.0.0.1:${String((this.server.address() as AddressInfo).port)}`;
  }

  /** Agents that wait now. */
  get present(): number {
    return this.waiting.length;
  }

  release(): void {
    for (const response of this.waiting.splice(0)) {
      answer(response, 'edit', { path: 'BENCH.md', content: 'Here.\n' });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private take({ messages }: { messages: unknown[] }, response: ServerResponse): void {
    if (messages.length === 1) this.waiting.push(response);
    else answer(response, 'submit', { summary: 'Write a file' });
  }
}

function answer(response: ServerResponse, tool: string, input: object): void {
  response.setHeader('content-type', 'text/event-stream');
  response.end(streamedCall(tool, input));
}
