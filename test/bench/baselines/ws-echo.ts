import { once } from 'node:events';
import { WebSocket } from 'ws';
import { startChild } from '../child.ts';
import { drive, type LoadResult } from '../load.ts';

/** Round trips of `bytes` through a raw ws server in another process, on one socket, `concurrency` at a time. */
export async function measureWsEcho(bytes: Uint8Array, count: number, concurrency: number): Promise<LoadResult> {
  await using server = await startChild<{ port: number }>('baselines/ws-echo.server.ts');
  const socket = new WebSocket(`ws://127.0.0.1:${String(server.ready.port)}`, { perMessageDeflate: false });
  await once(socket, 'open');
  const waiting: (() => void)[] = [];
  // ws keeps order, so that the oldest caller's answer comes first.
  socket.on('message', () => waiting.shift()?.());
  const echo = () =>
    new Promise<void>((resolve) => {
      waiting.push(resolve);
      socket.send(bytes);
    });
  await drive(Math.min(count, 200), concurrency, echo);
  const result = await drive(count, concurrency, echo);
  socket.terminate();
  return result;
}
