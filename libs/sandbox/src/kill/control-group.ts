import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCode, isAbsence } from './process.js';

const FREEZE_PATIENCE_MS = 100;
/** A control group that is there to read only: mounted so, or somebody else's. */
const READ_ONLY = ['EROFS', 'EACCES', 'EPERM'];

/** Pids in the control group, threads and zombies not counted; empty if the group is gone. */
export function groupMembers(group: string): number[] {
  const text = readOrNull(join(group, 'cgroup.procs'));
  if (text === null) return [];
  return text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
}

/**
 * Sends SIGKILL to every process of the group so that none can escape by forking meanwhile.
 *
 * Where the kernel kills whole groups (`cgroup.kill`, Linux 5.14) it is asked to: it holds forks off itself.
 * Elsewhere the group is frozen, signalled and thawed: a frozen process neither forks nor ends, so that its pid
 * cannot pass to another process between the list and the signal.
 *
 * A group that may only be read is signalled as it runs: what forks meanwhile is left, for the end of its PID namespace.
 */
export async function killGroup(group: string): Promise<void> {
  try {
    await killAtOnce(group);
  } catch (error) {
    if (isAbsence(error)) return;
    if (!READ_ONLY.includes(errorCode(error) ?? '')) throw error;
    signalAll(group);
  }
}

async function killAtOnce(group: string): Promise<void> {
  if (existsSync(join(group, 'cgroup.kill'))) return void writeFileSync(join(group, 'cgroup.kill'), '1');
  const freezer = freezerOf(group);
  if (freezer === null) return signalAll(group);
  writeFileSync(freezer.file, freezer.freeze);
  try {
    await freezer.settle();
    signalAll(group);
  } finally {
    writeFileSync(freezer.file, freezer.thaw);
  }
}

interface Freezer {
  file: string;
  freeze: string;
  thaw: string;
  /** Waits until the group stands still, but not for ever: a process in the kernel may not stop at once. */
  settle(): Promise<void>;
}

function freezerOf(group: string): Freezer | null {
  const v2 = join(group, 'cgroup.freeze');
  if (existsSync(v2)) {
    const settled = () => readOrNull(join(group, 'cgroup.events'))?.includes('frozen 1') ?? true;
    return { file: v2, freeze: '1', thaw: '0', settle: () => until(settled) };
  }
  const v1 = join(group, 'freezer.state');
  if (!existsSync(v1)) return null;
  const settled = () => (readOrNull(v1) ?? 'FROZEN').startsWith('FROZEN');
  return { file: v1, freeze: 'FROZEN', thaw: 'THAWED', settle: () => until(settled) };
}

async function until(settled: () => boolean): Promise<void> {
  const deadline = performance.now() + FREEZE_PATIENCE_MS;
  while (!settled() && performance.now() < deadline) await delay(1);
}

function signalAll(group: string): void {
  for (const pid of groupMembers(group)) {
    // Asked again just before the signal: the group is what makes the pid the agent's.
    if (groupMembers(group).includes(pid)) sendKill(pid);
  }
}

/** SIGKILL; whether there was a process to take it. Throws where the kernel refuses (EPERM). */
export function sendKill(pid: number): boolean {
  if (pid <= 1) throw new RangeError(`refusing to signal pid ${String(pid)}`);
  try {
    return process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
}

function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (isAbsence(error)) return null;
    throw error;
  }
}
