import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasProcess, readProcess, type ProcessIdentity } from '@capstan/sandbox';
import { until } from './until.ts';

const PATIENCE_MS = 60_000;

/**
 * A real Docker of one test: its own daemon, socket, data and containerd in a directory of its own, gone at the end. Without
 * networks: it needs neither a bridge nor iptables.
 */
export class TestDocker implements AsyncDisposable {
  readonly directory: string;
  readonly socketPath: string;
  private readonly more: readonly string[];
  private daemon: ChildProcess | undefined;

  private constructor(directory: string, more: readonly string[]) {
    this.directory = directory;
    this.more = more;
    this.socketPath = join(directory, 'docker.sock');
  }

  /** @param more settings of the daemon */
  static async start(...more: string[]): Promise<TestDocker> {
    const docker = new TestDocker(mkdtempSync(join(tmpdir(), 'capstan-docker-')), more);
    try {
      await docker.launch();
      return docker;
    } catch (error) {
      await docker[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** SIGKILL, as a crash: containers go on. */
  async crash(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** SIGSTOP: it is there, and does not answer. Containers go on. */
  freeze(): void {
    this.daemon?.kill('SIGSTOP');
  }

  thaw(): void {
    this.daemon?.kill('SIGCONT');
  }

  /** Starts it again on the same data. */
  async restart(): Promise<void> {
    await this.launch();
  }

  /** What its API answers, read without the product's own client. */
  async get(path: string): Promise<unknown> {
    const asked = request({ socketPath: this.socketPath, path }).end();
    const [answer] = (await once(asked, 'response')) as [NodeJS.ReadableStream];
    const pieces: Buffer[] = [];
    for await (const piece of answer) pieces.push(piece as Buffer);
    return JSON.parse(Buffer.concat(pieces).toString());
  }

  /** Ids of all containers, running or not. */
  async containers(): Promise<string[]> {
    return ((await this.get('/containers/json?all=true')) as { Id: string }[]).map(({ Id }) => Id);
  }

  /** Removes every container, whatever runs in it. */
  async removeContainers(): Promise<void> {
    for (const id of await this.containers()) {
      const path = `/containers/${id}?force=true&v=true`;
      const asked = request({ socketPath: this.socketPath, method: 'DELETE', path }).end();
      const [answer] = (await once(asked, 'response')) as [NodeJS.ReadableStream];
      answer.resume();
      await once(answer, 'end');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.thaw();
    await this.end('SIGTERM');
    const isGone = (): boolean => {
      const left = processesOf(this.directory);
      left.forEach(({ pid }) => process.kill(pid, 'SIGKILL'));
      return left.length === 0;
    };
    await until('nothing of it runs', isGone, PATIENCE_MS);
    for (const point of mountsBelow(this.directory)) spawnSync('umount', ['--lazy', point]);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private async launch(): Promise<void> {
    const at = (name: string): string => join(this.directory, name);
    // A containerd that died with a crashed daemon may be a zombie that nobody collects: its number must not mislead.
    for (const file of ['pid', 'exec/containerd/containerd.pid']) rmSync(at(file), { force: true });
    const log = openSync(at('log'), 'a');
    const settings = [
      ...['--storage-driver=overlay2', '--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false'],
      ...['--ip-masq=false', `--data-root=${at('data')}`, `--exec-root=${at('exec')}`, `--pidfile=${at('pid')}`],
      `--host=unix://${this.socketPath}`,
      ...this.more,
    ];
    // It ends with us, however we end.
    const daemon = spawn('setpriv', ['--pdeathsig', 'TERM', 'dockerd', ...settings], { stdio: ['ignore', log, log] });
    closeSync(log);
    this.daemon = daemon;
    await until('Docker answers', async () => {
      if (daemon.exitCode !== null) throw new Error(`dockerd ended: ${readFileSync(at('log'), 'utf8').slice(-2000)}`);
      return this.get('/version').then(
        () => true,
        () => false,
      );
    });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { daemon } = this;
    this.daemon = undefined;
    if (daemon?.exitCode !== null || daemon.signalCode !== null) return;
    const ended = once(daemon, 'exit');
    daemon.kill(signal);
    // One that does not come to an end of its own.
    const late = setTimeout(() => daemon.kill('SIGKILL'), PATIENCE_MS);
    await ended.finally(() => clearTimeout(late));
  }
}

/** Its containerd, the shims of containers that outlived a crash, and what runs in these. */
function processesOf(directory: string): ProcessIdentity[] {
  const containers = containersIn(directory);
  const isOurs = (pid: number): boolean => {
    if (readOf(pid, 'cmdline').includes(`${directory}/`)) return true;
    const groups = readOf(pid, 'cgroup');
    return containers.some((id) => groups.includes(id));
  };
  return allPids()
    .filter(isOurs)
    .map(readProcess)
    .filter((view) => view !== null)
    .filter(hasProcess);
}

/** Ids, each of which is part of the name of its container's control group. */
function containersIn(directory: string): string[] {
  const root = join(directory, 'data', 'containers');
  return existsSync(root) ? readdirSync(root) : [];
}

/** Empty where the process is gone. */
function readOf(pid: number, file: 'cmdline' | 'cgroup'): string {
  try {
    return readFileSync(`/proc/${String(pid)}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Inner mounts before outer ones. */
function mountsBelow(directory: string): string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[4] ?? []);
  return points.filter((point) => point.startsWith(`${directory}/`)).reverse();
}
