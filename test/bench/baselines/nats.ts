import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, nkeyAuthenticator, nkeys } from 'nats';
import { startChild } from '../child.ts';
import { drive, type LoadResult } from '../load.ts';
import { until } from '../mesh.ts';

const SUBJECT = 'agent.status';
/** The package's own types say `any`. */
const keys = nkeys as { createUser(): { getPublicKey(): string; getSeed(): Uint8Array } };

/**
 * The same request and reply over NATS: nats-server between two processes, both authenticated by nkeys (Ed25519). The
 * server checks a key once per connection, and keeps nothing: no command is signed, stored or bound to its answer.
 */
export async function measureNats(bytes: Uint8Array, count: number, concurrency: number): Promise<LoadResult> {
  await using server = await startServer();
  await using _responder = await startChild('baselines/nats.responder.ts', [
    server.url,
    server.seed,
    String(bytes.length),
  ]);
  const connection = await connect({
    servers: server.url,
    authenticator: nkeyAuthenticator(new TextEncoder().encode(server.seed)),
  });
  const ask = () => connection.request(SUBJECT, bytes, { timeout: 5_000 });
  await drive(Math.ceil(count / 4), concurrency, ask);
  const result = await drive(count, concurrency, ask);
  await connection.close();
  return result;
}

async function startServer(): Promise<AsyncDisposable & { url: string; seed: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-nats-'));
  const user = keys.createUser();
  const ports = join(directory, 'ports');
  const config = join(directory, 'nats.conf');
  writeFileSync(
    config,
    `listen: "127.0.0.1:-1"\nports_file_dir: "${directory}"\nauthorization: { users: [{ nkey: ${user.getPublicKey()} }] }\n`,
  );
  const child = spawn('nats-server', ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  const exited = once(child, 'exit');
  const port = await until(`nats-server listens (${ports})`, () => {
    const line = /Listening for client connections on 127\.0\.0\.1:(\d+)/.exec(words);
    return Promise.resolve(line?.[1]);
  });
  return {
    url: `127.0.0.1:${port}`,
    seed: new TextDecoder().decode(user.getSeed()),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
      rmSync(directory, { recursive: true });
    },
  };
}
