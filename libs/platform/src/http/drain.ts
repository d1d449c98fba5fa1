import type { Server, ServerResponse } from 'node:http';

/**
 * Lets a server end although its clients are busy. Node closes connections that are idle at `close` and waits for the
 * others, which clients keep alive and go on asking over: under load a server never ended (a rolling restart of three hubs
 * stood still at the first). From `close` on each answer is the last of its connection, and says so.
 */
export function endConnectionsOnClose(server: Server): void {
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
    return close(done);
  };
}
