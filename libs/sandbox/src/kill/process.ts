import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/** Names one process for ever on one boot. */
export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks from boot to the process's start. */
  startTicks: bigint;
}

export interface ProcessView extends ProcessIdentity {
  /** One letter of /proc/PID/stat, e.g. `R`, `S`, `Z`. */
  state: string;
  parentPid: number;
  /** Inode of the PID namespace; null where the kernel does not tell (a process of another user's). */
  pidNamespace: bigint | null;
}

/** Id of this boot: pids and start ticks mean nothing across two of them. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Inode of the PID namespace of a process, or null if it is gone or not to be seen. */
export function pidNamespaceOf(pid: number | 'self'): bigint | null {
  try {
    const inode = /^pid:\[(\d+)\]$/.exec(readlinkSync(`/proc/${String(pid)}/ns/pid`))?.[1];
    return inode === undefined ? null : BigInt(inode);
  } catch (error) {
    if (isAbsence(error) || errorCode(error) === 'EACCES') return null;
    throw error;
  }
}

export function ownPidNamespace(): bigint {
  const inode = pidNamespaceOf('self');
  if (inode === null) throw new Error('this process cannot read its own PID namespace');
  return inode;
}

/** The process that has this pid now, or null. A zombie is still a process here; see `hasProcess`. */
export function readProcess(pid: number): ProcessView | null {
  const stat = readStat(`/proc/${String(pid)}/stat`);
  if (stat === null) return null;
  return { pid, ...stat, pidNamespace: pidNamespaceOf(pid) };
}

/** Whether the pid is still held by the very process that was meant, and not by one that took the number over. */
export function isSameProcess(identity: ProcessIdentity): boolean {
  return readStat(`/proc/${String(identity.pid)}/stat`)?.startTicks === identity.startTicks;
}

/**
 * Whether any thread of the process can still run.
 *
 * A zombie whose threads have all ended runs nothing and waits only for its parent to collect it; but a process
 * whose first thread alone has ended is shown as a zombie too, and lives.
 */
export function hasProcess(identity: ProcessIdentity): boolean {
  const stat = readStat(`/proc/${String(identity.pid)}/stat`);
  if (stat?.startTicks !== identity.startTicks) return false;
  return !isDead(stat.state) || threadsLive(identity.pid);
}

/** Pids of all processes that this one can see. */
export function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Whether the process is pid 1 of its own PID namespace. */
export function isNamespaceInit(pid: number): boolean {
  try {
    return /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${String(pid)}/status`, 'latin1'));
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
}

function threadsLive(pid: number): boolean {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${String(pid)}/task`);
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
  return threads.some((thread) => {
    const stat = readStat(`/proc/${String(pid)}/task/${thread}/stat`);
    return stat !== null && !isDead(stat.state);
  });
}

function isDead(state: string): boolean {
  return state === 'Z' || state === 'X' || state === 'x';
}

function readStat(file: string): { state: string; parentPid: number; startTicks: bigint } | null {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch (error) {
    // Any other error, e.g. too many open files, must never be read as "the process is gone".
    if (isAbsence(error)) return null;
    throw error;
  }
  // The name in parentheses is the process's own choice and may hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, parentPid] = fields;
  const startTicks = fields[19];
  if (state === undefined || parentPid === undefined || startTicks === undefined) return null;
  return { state, parentPid: Number(parentPid), startTicks: BigInt(startTicks) };
}

/** Whether the error says that the process or control group is not there. */
export function isAbsence(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ESRCH' || code === 'ENODEV';
}

export function errorCode(error: unknown): string | undefined {
  // Not asked with instanceof: an error of another realm (a test's) must not be taken for a different one.
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}
