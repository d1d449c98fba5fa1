import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { waitUntil } from '../state/wait-until.js';
import { writePrivateSync } from '../state/write-file.js';
import { isAlive, processIdentity } from './process-identity.js';

interface Entry {
  name: string;
  pid: number;
  identity: string;
}

/** Ends what a mesh whose supervisor was lost has left running. @returns the names of what was ended. */
export function endLeftovers(stateDir: string): Promise<string[]> {
  return ProcessRegister.of(stateDir).endLeftovers();
}

/** On disk, which processes this mesh started: so that a start after a crash of the supervisor finds what was left. */
export class ProcessRegister {
  private readonly entries = new Map<number, Entry>();

  private isClosed = false;

  constructor(private readonly file: string) {}

  static of(stateDir: string): ProcessRegister {
    return new ProcessRegister(join(stateDir, 'processes.json'));
  }

  /** @throws LocalFault `stopped` once the mesh is being taken down: nothing may start any more. */
  checkOpen(): void {
    if (this.isClosed) throw new LocalFault('stopped', 'The mesh is being taken down.');
  }

  get isOpen(): boolean {
    return !this.isClosed;
  }

  /** From now on nothing starts. */
  close(): void {
    this.isClosed = true;
  }

  /** Gives up: nothing starts any more, and what runs is ended. */
  async endAll(): Promise<void> {
    this.close();
    await this.endLeftovers();
  }

  add(name: string, pid: number): void {
    const identity = processIdentity(pid);
    if (identity === null) return;
    this.entries.set(pid, { name, pid, identity });
    this.save();
  }

  remove(pid: number): void {
    // Once it is closed the file is only read, and its directory may go at any moment.
    if (this.entries.delete(pid) && !this.isClosed) this.save();
  }

  /** Ends what an earlier mesh in the same place left behind. @returns the names of what was ended. */
  async endLeftovers(graceMs = 5000): Promise<string[]> {
    const left = readEntries(this.file).filter((entry) => isAlive(entry.pid, entry.identity));
    for (const entry of left) signal(entry, 'SIGTERM');
    const areGone = (): boolean => left.every((entry) => !isAlive(entry.pid, entry.identity));
    if (!(await waitUntil(areGone, graceMs))) {
      for (const entry of left) signal(entry, 'SIGKILL');
      await waitUntil(areGone, graceMs);
    }
    rmSync(this.file, { force: true });
    return left.map((entry) => entry.name);
  }

  private save(): void {
    writePrivateSync(this.file, JSON.stringify([...this.entries.values()]));
  }
}

function readEntries(file: string): Entry[] {
  if (!existsSync(file)) return [];
  try {
    const list: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return Array.isArray(list) ? (list as Entry[]).filter((entry) => Number.isInteger(entry.pid) && entry.pid > 1) : [];
  } catch {
    return [];
  }
}

function signal(entry: Entry, name: NodeJS.Signals): void {
  if (!isAlive(entry.pid, entry.identity)) return;
  try {
    process.kill(entry.pid, name);
  } catch {
    // It ended between the question and the signal.
  }
}
