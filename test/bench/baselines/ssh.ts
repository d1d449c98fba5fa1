import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { drive, type LoadResult } from '../load.ts';
import { until } from '../mesh.ts';

/** Sessions that one connection may carry at once; above the callers of any section. */
const SESSIONS = 64;

/**
 * The same request and reply over OpenSSH: a command per request, over one shared connection (ControlMaster). The far side
 * starts a process for each, reads the bytes and writes them back.
 */
export async function measureSsh(bytes: Uint8Array, count: number, concurrency: number): Promise<LoadResult> {
  await using server = await startServer();
  const ask = () => askOnce(server.options, bytes);
  await drive(Math.min(count, 20), concurrency, ask);
  return await drive(count, concurrency, ask);
}

async function askOnce(options: string[], bytes: Uint8Array): Promise<void> {
  const child = spawn('ssh', [...options, 'target', 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
  let received = 0;
  child.stdout.on('data', (chunk: Buffer) => (received += chunk.length));
  child.stdin.end(bytes);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0 || received !== bytes.length) throw new Error(`ssh ended with ${String(code)}`);
}

async function startServer(): Promise<AsyncDisposable & { options: string[] }> {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-ssh-'));
  const file = (name: string) => join(directory, name);
  for (const name of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)]);
  const port = await freePort();
  const { username } = userInfo();
  const common = ['UsePAM no', 'StrictModes no', 'PermitRootLogin prohibit-password', 'PasswordAuthentication no'];
  writeFileSync(
    file('sshd_config'),
    [
      `ListenAddress 127.0.0.1:${String(port)}`,
      `HostKey ${file('host')}`,
      `AuthorizedKeysFile ${file('user')}.pub`,
      `PidFile ${file('pid')}`,
      `MaxSessions ${String(SESSIONS)}`,
      ...common,
      '',
    ].join('\n'),
  );
  // sshd refuses to start without it, and no service has made it here.
  if (username === 'root') mkdirSync('/run/sshd', { recursive: true });
  const daemon = spawn('/usr/sbin/sshd', ['-D', '-f', file('sshd_config')], { stdio: 'ignore' });
  await until('sshd listens', () => isOpen(port));
  const options = [
    ...['-F', 'none', '-p', String(port), '-i', file('user'), '-o', 'BatchMode=yes', '-o', 'HostName=127.0.0.1'],
    ...['-o', `User=${username}`, '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null'],
    ...['-o', 'LogLevel=ERROR', '-S', file('mux')],
  ];
  const master = spawn('ssh', [...options, '-M', '-N', 'target'], { stdio: 'ignore' });
  await until('the shared connection is up', async () =>
    (await succeeds('ssh', [...options, '-O', 'check', 'target'])) ? true : undefined,
  );
  return {
    options,
    async [Symbol.asyncDispose]() {
      await end(master);
      await end(daemon);
      rmSync(directory, { recursive: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

async function succeeds(program: string, args: string[]): Promise<boolean> {
  const [code] = (await once(spawn(program, args, { stdio: 'ignore' }), 'exit')) as [number | null];
  return code === 0;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function isOpen(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(undefined));
  });
}
