import { readFileSync, readdirSync } from 'node:fs';

/** Linux reports CPU times in ticks of 1/100 s to user space, whatever the kernel's own frequency is (USER_HZ). */
const TICKS_PER_SECOND = 100;

interface ProcessStat {
  parent: number;
  userTicks: number;
  systemTicks: number;
}

/** @throws Error where the process is gone */
function statOf(pid: number): ProcessStat {
  const text = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
  // The second field is a name in parentheses that may itself hold spaces and parentheses: proc_pid_stat(5).
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  return { parent: fields[1] ?? 0, userTicks: fields[11] ?? 0, systemTicks: fields[12] ?? 0 };
}

/** CPU time that a process has used so far, user and system, in milliseconds; resolution 10 ms. */
export function cpuMs(pid: number): number {
  const { userTicks, systemTicks } = statOf(pid);
  return ((userTicks + systemTicks) * 1000) / TICKS_PER_SECOND;
}

/** Proportional set size in MB: what the process would free, shared pages divided among those who share them. */
export function pssMb(pid: number): number {
  const rollup = readFileSync(`/proc/${String(pid)}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1] ?? Number.NaN) / 1024;
}

/** The process and everything below it. */
export function treeOf(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const pid of readdirSync('/proc').map(Number).filter(Number.isInteger)) {
    try {
      const { parent } = statOf(pid);
      children.set(parent, [...(children.get(parent) ?? []), pid]);
    } catch {
      // Ended since the directory was read.
    }
  }
  const tree: number[] = [];
  for (let next = [root]; next.length > 0; next = next.flatMap((pid) => children.get(pid) ?? [])) tree.push(...next);
  return tree;
}

/** The command line of a process, for the table of who uses what. */
export const commandOf = (pid: number): string =>
  readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')
    .replaceAll('\0', ' ')
    .trim();
