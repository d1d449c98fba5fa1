import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream';

/** A port of the sandbox's own loopback that leads to the gateway's socket. */
export interface Forwarder extends AsyncDisposable {
  /** For ANTHROPIC_BASE_URL. */
  readonly url: string;
}

/** Opens the way from TCP, which is all that most programs speak, to the gateway. */
export async function openForwarder(socketPath: string): Promise<Forwarder> {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const gateway = connect(socketPath);
    for (const socket of [client, gateway]) {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    }
    // A side that breaks off takes the other with it; there is nobody here to tell.
    pipeline(client, gateway, client, () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${String(port)}`, [Symbol.asyncDispose]: () => close(server, open) };
}

async function close(server: Server, open: Set<Socket>): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  for (const socket of open) socket.destroy();
  await closed;
}
