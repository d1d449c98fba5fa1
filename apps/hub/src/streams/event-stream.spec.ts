import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EventStream } from './event-stream.js';

test('a reader that takes nothing is cut off, and whoever tells it hears so', async () => {
  const told = Promise.withResolvers<number>();
  const server = createServer((_request, response) => {
    const tell = async (): Promise<number> => {
      using stream = new EventStream(response, new AbortController().signal, 50);
      let count = 0;
      for (; !stream.signal.aborted; count += 1) await stream.send({ event: 'e', data: 'x'.repeat(65_536) });
      return count;
    };
    told.resolve(tell());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const reader = request({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
  const gone = once(reader, 'response').then(async ([response]) => {
    (response as NodeJS.ReadableStream).pause();
    await once(reader, 'close');
  });
  reader.on('error', () => undefined);
  reader.end();
  // No more than the kernel's buffers hold: some megabytes.
  expect(await told.promise).toBeLessThan(500);
  reader.destroy();
  await gone;
  server.closeAllConnections();
  server.close();
});
