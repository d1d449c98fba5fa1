import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { isAlive, processIdentity } from '../process/process-identity.js';
import { waitUntil } from './wait-until.js';

const LOCK = 'mesh.lock';

/** The process that runs the mesh of a state directory. */
export interface LockHolder {
  pid: number;
  identity: string;
  startedAt: string;
}

/** Who runs a mesh in this state directory now; null where nobody does. */
export function lockHolder(stateDir: string): LockHolder | null {
  const holder = read(join(stateDir, LOCK));
  return holder !== null && isAlive(holder.pid, holder.identity) ? holder : null;
}

/** Asks the mesh of this state directory to end, and waits. @returns false where it still lives after `timeoutMs`. */
export async function stopHolder(holder: LockHolder, timeoutMs: number): Promise<boolean> {
  if (isAlive(holder.pid, holder.identity)) process.kill(holder.pid, 'SIGTERM');
  return waitUntil(() => !isAlive(holder.pid, holder.identity), timeoutMs);
}

/** One mesh at a time in a state directory. The lock of a process that no longer lives counts for nothing. */
export class StateLock implements Disposable {
  private constructor(
    private readonly file: string,
    private readonly text: string,
  ) {}

  /** @throws LocalFault `already-running` */
  static take(stateDir: string): StateLock {
    const file = join(stateDir, LOCK);
    const text = JSON.stringify({
      pid: process.pid,
      identity: processIdentity(process.pid) ?? '',
      startedAt: new Date().toISOString(),
    });
    if (!create(file, text)) {
      dropStale(file, stateDir);
      if (!create(file, text)) throw alreadyRunning(stateDir, read(file));
    }
    return new StateLock(file, text);
  }

  [Symbol.dispose](): void {
    if (readText(this.file) === this.text) rmSync(this.file, { force: true });
  }
}

/** The link appears with its content, or not at all. */
function create(file: string, text: string): boolean {
  const fresh = `${file}.${String(process.pid)}`;
  writeFileSync(fresh, text, { mode: 0o600 });
  try {
    linkSync(fresh, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(fresh, { force: true });
  }
}

function dropStale(file: string, stateDir: string): void {
  const seen = readText(file);
  const holder = read(file);
  if (holder !== null && isAlive(holder.pid, holder.identity)) throw alreadyRunning(stateDir, holder);
  const aside = `${file}.stale.${String(process.pid)}`;
  try {
    renameSync(file, aside);
  } catch {
    return;
  }
  // Another starter may have replaced the stale lock meanwhile; then this one was theirs and goes back.
  if (readText(aside) !== seen) {
    try {
      linkSync(aside, file);
    } catch {
      // A third lock stands there already.
    }
  }
  rmSync(aside, { force: true });
}

function alreadyRunning(stateDir: string, holder: LockHolder | null): LocalFault {
  const who = holder === null ? '' : ` (process ${String(holder.pid)}, since ${holder.startedAt})`;
  return new LocalFault(
    'already-running',
    `A mesh already runs from ${stateDir}${who}. Use it with "npx capstan status", end it with "npx capstan down", or start a second one with --state DIR --port PORT.`,
  );
}

function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function read(file: string): LockHolder | null {
  try {
    const { pid, identity, startedAt } = JSON.parse(readText(file) ?? '') as Partial<LockHolder>;
    if (typeof pid !== 'number' || typeof identity !== 'string' || typeof startedAt !== 'string') return null;
    return { pid, identity, startedAt };
  } catch {
    return null;
  }
}
