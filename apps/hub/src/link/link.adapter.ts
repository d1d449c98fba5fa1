import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { INestApplication, WebSocketAdapter } from '@nestjs/common';
import type { Link, LinkListener } from '@capstan/link';

/** What Nest calls the server of a gateway: one path of the hub's HTTP server whose upgrades become links. */
export class LinkServer {
  /** Set by the adapter: hands a link to the gateway. */
  onLink: (link: Link) => void = () => undefined;
  private listener: LinkListener | undefined;

  constructor(readonly path: string) {}

  /** The gateway brings the listener, since it knows keys and connections. */
  listenWith(listener: LinkListener): void {
    this.listener = listener;
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.listener === undefined) socket.destroy();
    else this.listener.handleUpgrade(request, socket, head);
  }

  async close(): Promise<void> {
    await this.listener?.close();
  }
}

/**
 * Nest's view of our links. It owns the `upgrade` event and nothing else: handshake, limits and lanes are those of
 * @capstan/link, because Nest's adapters speak JSON messages and buffer what a stranger sends.
 */
export class LinkAdapter implements WebSocketAdapter<LinkServer, Link, { path?: string }> {
  private readonly servers: LinkServer[] = [];

  constructor(app: INestApplication) {
    const http = app.getHttpServer() as Server;
    http.on('upgrade', (request, socket, head) => {
      this.route(request, socket, head);
    });
  }

  create(_port: number, options?: { path?: string }): LinkServer {
    const server = new LinkServer(options?.path ?? '/');
    this.servers.push(server);
    return server;
  }

  bindClientConnect(server: LinkServer, callback: (link: Link) => void): void {
    server.onLink = callback;
  }

  bindClientDisconnect(link: Link, callback: (reason: string) => void): void {
    void link.closed.then(({ code }) => {
      callback(code);
    });
  }

  /** Messages are envelopes on lanes; the gateway takes them from the link itself. */
  bindMessageHandlers(): void {
    // Nothing to bind.
  }

  async close(server: LinkServer): Promise<void> {
    await server.close();
  }

  /** Nest asks for it when the application closes. */
  dispose(): Promise<void> {
    return Promise.resolve();
  }

  private route(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = (request.url ?? '').split('?', 1)[0];
    const server = this.servers.find((each) => each.path === path);
    if (server !== undefined) {
      server.upgrade(request, socket, head);
      return;
    }
    socket.on('error', () => socket.destroy());
    socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  }
}
