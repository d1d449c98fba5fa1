import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { waitUntil } from '../state/wait-until.js';
import { writePrivateSync } from '../state/write-file.js';
import { endInOrder, type EndingProcess } from './end-in-order.js';
import { isAlive, processIdentity } from './process-identity.js';

/** The one entry that is no part of the mesh: it ends the others once the supervisor was lost. */
const GUARDIAN = 'guardian';
/** Longer than a guardian takes where it has to cut every process. */
const GUARDIAN_MS = 60_000;

/** Ends what a mesh whose supervisor was lost has left running. @returns the names of what was ended. */
export function endLeftovers(stateDir: string): Promise<string[]> {
  return ProcessRegister.of(stateDir).endLeftovers();
}

/** On disk, which processes this mesh started: so that its guardian, or a later start, finds what was left. */
export class ProcessRegister {
  private readonly entries = new Map<number, EndingProcess>();

  private isClosed = false;

  constructor(
    private readonly file: string,
    /** Further environment of one process, by its name. */
    readonly envOf: (name: string) => Readonly<Record<string, string>> = () => ({}),
  ) {}

  static of(stateDir: string, envOf?: (name: string) => Readonly<Record<string, string>>): ProcessRegister {
    return new ProcessRegister(join(stateDir, 'processes.json'), envOf);
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
    await this.endProcesses();
  }

  /** @param stopSignal asks it to end; default SIGTERM. */
  add(name: string, pid: number, stopSignal?: NodeJS.Signals): void {
    const identity = processIdentity(pid);
    if (identity === null) return;
    this.entries.set(pid, { name, pid, identity, ...(stopSignal === undefined ? {} : { stopSignal }) });
    this.save();
  }

  addGuardian(pid: number): void {
    this.add(GUARDIAN, pid);
  }

  remove(pid: number): void {
    // Once it is closed the file is only read, and its directory may go at any moment.
    if (this.entries.delete(pid) && !this.isClosed) this.save();
  }

  /** True where processes of an earlier mesh, or its guardian, still live. */
  get hasLeftovers(): boolean {
    return this.living().length > 0;
  }

  /**
   * Ends what an earlier mesh in the same place left behind; where its guardian is at that already, waits for it.
   * @returns the names of what was ended.
   */
  async endLeftovers(graceMs?: number): Promise<string[]> {
    const before = this.living();
    const guardian = before.find(({ name }) => name === GUARDIAN);
    if (guardian !== undefined) await waitUntil(() => !isAlive(guardian.pid, guardian.identity), GUARDIAN_MS);
    await this.endProcesses(graceMs);
    return before.map(({ name }) => name).filter((name) => name !== GUARDIAN);
  }

  /** Ends the mesh's processes in order, and forgets them; its guardian stays. @returns the names of what was ended. */
  async endProcesses(graceMs?: number): Promise<string[]> {
    const left = this.living().filter(({ name }) => name !== GUARDIAN);
    await endInOrder(left, graceMs);
    rmSync(this.file, { force: true });
    return left.map(({ name }) => name);
  }

  private living(): EndingProcess[] {
    return readEntries(this.file).filter(({ pid, identity }) => isAlive(pid, identity));
  }

  private save(): void {
    writePrivateSync(this.file, JSON.stringify([...this.entries.values()]));
  }
}

function readEntries(file: string): EndingProcess[] {
  if (!existsSync(file)) return [];
  try {
    const list: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return Array.isArray(list)
      ? (list as EndingProcess[]).filter((entry) => Number.isInteger(entry.pid) && entry.pid > 1)
      : [];
  } catch {
    return [];
  }
}
