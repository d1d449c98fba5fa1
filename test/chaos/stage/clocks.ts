import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const FOLDERS = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];
/** What libfaketime leaves behind of a process that was killed. */
const SHARED = '/dev/shm';
const LEFT_BEHIND = /^(?:sem\.)?faketime_(?:shm|sem)_(?<pid>\d+)$/;
const HOUR_MS = 3_600_000;

/**
 * The wall clocks of single processes, by libfaketime (Debian's package `faketime`): the library reads a process's offset
 * from a file at each look at the clock. Monotonic clocks are left as they are, and so are PostgreSQL and the agents.
 */
export class Clocks {
  private readonly directory: string;
  private readonly library: string;

  private constructor(directory: string, library: string) {
    this.directory = directory;
    this.library = library;
  }

  /** Undefined where the library is not installed. @throws Error where it does not move the clock of a process */
  static async of(stateDir: string): Promise<Clocks | undefined> {
    const library = findLibrary();
    if (library === undefined) return undefined;
    const directory = join(stateDir, 'clocks');
    mkdirSync(directory, { mode: 0o711 });
    const clocks = new Clocks(directory, library);
    await clocks.prove();
    return clocks;
  }

  /** With what a process of the mesh must be started, so that its clock can be moved. */
  envOf(name: string): Record<string, string> {
    if (name === 'postgres' || name === 'guardian') return {};
    this.set(name, 0);
    // Valkey's allocator asks for the time before the library is ready, and hangs: it gets that of the C library.
    const preload = name.endsWith('valkey') ? [this.library, libcOfThisProcess()] : [this.library];
    return {
      LD_PRELOAD: preload.join(':'),
      FAKETIME_TIMESTAMP_FILE: this.fileOf(name),
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_NO_CACHE: '1',
      // The times of files are the kernel's.
      NO_FAKE_STAT: '1',
    };
  }

  /** Moves the clock of a process by so much from the true time. */
  set(name: string, byMs: number): void {
    const file = this.fileOf(name);
    const seconds = byMs / 1000;
    writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${String(seconds)}\n`, { mode: 0o644 });
    renameSync(`${file}.new`, file);
  }

  /** All clocks right again. */
  clear(): void {
    for (const name of readdirSync(this.directory)) if (!name.endsWith('.new')) this.set(name.replace('@', '/'), 0);
  }

  /** Takes away what killed processes have left in shared memory. */
  [Symbol.dispose](): void {
    for (const name of readdirSync(SHARED)) {
      const { pid } = LEFT_BEHIND.exec(name)?.groups ?? {};
      if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(SHARED, name), { force: true });
    }
  }

  /** @throws Error where `timeOf` a part is not what its clock was set to */
  async proveOf(name: string, timeOf: () => Promise<number>): Promise<void> {
    this.set(name, HOUR_MS);
    const off = (await timeOf()) - Date.now() - HOUR_MS;
    this.set(name, 0);
    if (Math.abs(off) > HOUR_MS / 2) throw new Error(`${this.library} does not move the clock of ${name}`);
  }

  private prove(): Promise<void> {
    const env = { ...this.envOf('node'), PATH: process.env['PATH'] ?? '' };
    return this.proveOf('node', async () =>
      Number((await run(process.execPath, ['-p', 'Date.now()'], { env })).stdout),
    );
  }

  private fileOf(name: string): string {
    return join(this.directory, name.replace('/', '@'));
  }
}

function findLibrary(): string | undefined {
  const folders = FOLDERS.filter(existsSync).flatMap((folder) => [
    join(folder, 'faketime'),
    ...readdirSync(folder)
      .filter((name) => name.includes('-linux-'))
      .map((name) => join(folder, name, 'faketime')),
  ]);
  return folders.map((folder) => join(folder, 'libfaketimeMT.so.1')).find(existsSync);
}

function libcOfThisProcess(): string {
  const found = /\/\S*\/libc(?:\.so\.6|-\S+\.so)$/m.exec(readFileSync('/proc/self/maps', 'utf8'));
  if (found === null) throw new Error('this process has no C library of GNU');
  return found[0];
}
