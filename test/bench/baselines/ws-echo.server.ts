/** Raw ws: sends each binary message back. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type RawData, WebSocketServer } from 'ws';
import { serveParent } from '../child.ts';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', (socket) => {
  socket.on('message', (data: RawData) => socket.send(data));
});
await once(server, 'listening');
await serveParent({ port: (server.address() as AddressInfo).port });
for (const client of server.clients) client.terminate();
server.close();
