import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** How long a drain waits for requests that are not whole, and for all else. Less than the time after which it is cut. */
export interface DrainTimes {
  /** Until what carries no whole request is cut: half a request, a TLS handshake. Milliseconds. */
  graceMs: number;
  /** Until every connection is cut. Milliseconds. */
  mostMs: number;
}

const TIMES: DrainTimes = { graceMs: 1_000, mostMs: 7_000 };

/**
 * Lets a server end although its clients are busy. Node closes connections that are idle at `close` and waits for the
 * others, which clients keep alive and go on asking over: under load a server never ended (a rolling restart of three hubs
 * stood still at the first). From `close` on each answer is the last of its connection, and says so.
 *
 * From `close` on Node also looks at no timeout of a request any more: half a request would hold the server for ever. So
 * whatever carries no whole request is cut after a grace, and everything a while later.
 */
export function endConnectionsOnClose(server: Server, times: Partial<DrainTimes> = {}): void {
  const { graceMs, mostMs } = { ...TIMES, ...times };
  const open = new OpenSockets(server);
  const underway = new Set<ServerResponse>();
  const endsWith = (response: ServerResponse): void => {
    if (!response.headersSent) response.setHeader('connection', 'close');
  };
  server.prependListener('request', (_request, response) => {
    underway.add(response);
    if (!server.listening) endsWith(response);
    response.once('close', () => {
      underway.delete(response);
      // One that had begun before the close, and could not say that it was the last.
      if (!server.listening) server.closeIdleConnections();
    });
  });
  const close = server.close.bind(server);
  server.close = (done) => {
    for (const response of underway) endsWith(response);
    const whole = (): Set<Socket> =>
      new Set([...underway].filter(({ req }) => req.complete).map(({ req }) => req.socket));
    const grace = setTimeout(() => open.cut(whole()), graceMs);
    const most = setTimeout(() => open.cut(new Set()), mostMs);
    server.once('close', () => {
      clearTimeout(grace);
      clearTimeout(most);
    });
    return close(done);
  };
}

/** The sockets of a server; of one under TLS that which requests come over, or before there is one that below it. */
class OpenSockets {
  private readonly sockets = new Map<unknown, Socket>();

  constructor(server: Server) {
    const opened = (socket: Socket): void => {
      const { remoteAddress, remotePort } = socket;
      // A unix socket has no port, and no TLS.
      const key = remotePort === undefined ? socket : `${String(remoteAddress)} ${String(remotePort)}`;
      this.sockets.set(key, socket);
      socket.once('close', () => {
        if (this.sockets.get(key) === socket) this.sockets.delete(key);
      });
    };
    server.on('connection', opened);
    server.on('secureConnection', opened);
  }

  cut(spared: ReadonlySet<Socket>): void {
    for (const socket of this.sockets.values()) if (!spared.has(socket)) socket.destroy();
  }
}
