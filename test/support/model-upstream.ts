import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** What an upstream got. */
export interface UpstreamRequest {
  path: string;
  headers: IncomingMessage['headers'];
  body: Record<string, unknown>;
}

/** A server that stands where api.anthropic.com is. */
export class Upstream implements AsyncDisposable {
  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    readonly url: string,
    readonly requests: UpstreamRequest[],
  ) {}

  static async start(
    answer: (response: ServerResponse, request: UpstreamRequest) => void | Promise<void>,
  ): Promise<Upstream> {
    const requests: UpstreamRequest[] = [];
    const server = createServer((message, response) => {
      void text(message).then(async (body) => {
        const got = {
          path: message.url ?? '',
          headers: message.headers,
          body: JSON.parse(body) as Record<string, unknown>,
        };
        requests.push(got);
        await answer(response, got);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Upstream(server, `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, requests);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }
}
