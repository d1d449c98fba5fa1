import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';

/** Where Node's inspector listens after SIGUSR1; one process at a time. */
const INSPECTOR = 'http://127.0.0.1:9229/json';

const SETTLE_MS = 1_000;

/**
 * Makes a Node process collect its garbage and give the memory back: what is left is what it holds.
 * @throws Error when its inspector does not answer
 */
export async function collectGarbage(pid: number): Promise<void> {
  process.kill(pid, 'SIGUSR1');
  const socket = new WebSocket(await debuggerUrl(), { perMessageDeflate: false });
  try {
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    // Pages are given back some time after a collection, and a later one takes what finalizers have let go.
    for (const id of [1, 2, 3]) {
      await command(socket, id, 'HeapProfiler.collectGarbage');
      await delay(SETTLE_MS);
    }
  } finally {
    socket.terminate();
  }
}

async function debuggerUrl(): Promise<string> {
  for (let tries = 0; tries < 100; tries += 1) {
    try {
      const [target] = (await (await fetch(INSPECTOR)).json()) as { webSocketDebuggerUrl: string }[];
      if (target !== undefined) return target.webSocketDebuggerUrl;
    } catch {
      // Not yet.
    }
    await delay(50);
  }
  throw new Error('no inspector answers');
}

async function command(socket: WebSocket, id: number, method: string): Promise<void> {
  const answered = new Promise((resolve) => socket.once('message', resolve));
  socket.send(JSON.stringify({ id, method }));
  await answered;
}
