import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A real Valkey (or redis-server) of one test: unix socket in a directory of its own, gone at the end. */
export interface TestValkey extends AsyncDisposable {
  url: string;
  /** SIGKILL, as a crash; what was acknowledged is on disk. */
  crash(): Promise<void>;
  /** Starts it again on the same data. */
  restart(): Promise<void>;
  /** SIGSTOP: it is there, and does not answer. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

/** Starts the server and resolves once it answers. */
export async function startTestValkey(): Promise<TestValkey> {
  const directory = await mkdtemp(join(tmpdir(), 'capstan-valkey-'));
  const socket = join(directory, 'valkey.sock');
  let server = await launch(directory, socket);
  const end = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    server.kill('SIGKILL');
    await once(server, 'exit');
  };
  const stop = async (): Promise<void> => {
    await end();
    await rm(directory, { recursive: true, force: true });
  };
  return {
    url: `unix://${socket}`,
    crash: end,
    restart: async () => {
      server = await launch(directory, socket);
    },
    freeze: () => server.kill('SIGSTOP'),
    thaw: () => server.kill('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function launch(directory: string, socket: string): Promise<ReturnType<typeof spawn>> {
  const settings = ['--port', '0', '--unixsocket', socket, '--dir', directory, '--save', '', '--loglevel', 'warning'];
  const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction'];
  const server = spawn('redis-server', [...settings, ...durable], { stdio: 'ignore' });
  await once(server, 'spawn');
  for (const deadline = Date.now() + 10_000; ;) {
    if (await answers(socket)) return server;
    if (Date.now() > deadline || server.exitCode !== null) throw new Error('redis-server did not start');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => socket.write('PING\r\n'));
    const answer = (does: boolean): void => {
      socket.destroy();
      resolve(does);
    };
    socket.once('data', (data) => {
      answer(data.toString().startsWith('+PONG'));
    });
    socket.once('error', () => {
      answer(false);
    });
  });
}
