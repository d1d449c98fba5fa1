import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';

const ROOT = resolve(__dirname, '../../..');

/** Resolves with the first answer that is neither undefined nor false. */
export async function until<T>(
  ask: () => T | Promise<T>,
  what = ask.toString(),
  deadlineMs = 60_000,
): Promise<Exclude<T, undefined | false>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
    if (performance.now() > end) throw new Error(`still waiting after ${String(deadlineMs)} ms: ${what}`);
    await new Promise((wake) => setTimeout(wake, 10));
  }
}

export function answers(socket: string): Promise<boolean> {
  return new Promise((done) => {
    const client = connect(socket);
    client.once('connect', () => {
      client.destroy();
      done(true);
    });
    client.once('error', () => done(false));
  });
}

/** One process of an instance, started from its sources or from the PATH. */
export class TestProcess implements AsyncDisposable {
  private child: ChildProcess | undefined;
  output = '';

  constructor(
    private readonly command: string,
    private readonly args: readonly string[],
    private readonly env: Readonly<Record<string, string>>,
    private readonly isReady: () => boolean | Promise<boolean>,
    private readonly onStart: () => void = () => undefined,
  ) {}

  static fromSource(
    program: string,
    env: Readonly<Record<string, string>>,
    isReady: () => boolean | Promise<boolean>,
    onStart?: () => void,
  ): TestProcess {
    const loader = join(ROOT, 'apps/spoke/test/from-source.mjs');
    return new TestProcess(process.execPath, ['--import', loader, join(ROOT, program)], env, isReady, onStart);
  }

  async start(): Promise<void> {
    this.onStart();
    const child = spawn(this.command, this.args, {
      env: { PATH: process.env['PATH'] ?? '', ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => (this.output += text.toString()));
    }
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(`${this.args.join(' ')} ended: ${this.output}`);
        return this.isReady();
      },
      `${this.command} ${this.args.join(' ')} to be ready: ${this.output}`,
    );
  }

  get isRunning(): boolean {
    return this.child?.exitCode === null && this.child.signalCode === null;
  }

  /** Ends it as its supervisor would, or as a power cut would. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const { child } = this;
    if (child === undefined || !this.isRunning) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}

/** A Valkey (here: redis-server) with every write on disk before it is answered. */
export function testValkey(dir: string): TestProcess & { url: string } {
  const socket = join(dir, 'valkey.sock');
  const args = [
    '--port',
    '0',
    '--unixsocket',
    socket,
    '--dir',
    dir,
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
    '--save',
    '',
  ];
  const server = new TestProcess('redis-server', args, {}, () => answers(socket));
  return Object.assign(server, { url: `unix://${socket}` });
}

export async function removeDir(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
}
