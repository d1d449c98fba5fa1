import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { controlGroupsOf } from '../cgroup/hierarchy.js';
import { groupMembers } from '../kill/control-group.js';
import { members, type KillHandle } from '../kill/handle.js';

/** What an agent uses at one moment. */
export interface ResourceUse {
  /** Processor time of all its processes so far, milliseconds; those that nobody has waited for may be missing. */
  cpuMs: number;
  /** What the kernel charges its control group with, page cache included; else the sum of its resident sets. */
  memoryBytes: number;
  processes: number;
}

/** Linux reports CPU times in ticks of 1/100 s to user space, whatever the kernel's own frequency is (USER_HZ). */
const TICK_MS = 10;
const PAGE_BYTES = 4096;

/** Takes a sample, without asking the agent: from its control groups, else from /proc. Undefined where nothing of it lives. */
export function resourceUse(handle: KillHandle): ResourceUse | undefined {
  const pids = handle.cgroup === '' ? members(handle) : groupMembers(handle.cgroup);
  if (pids.length === 0) return undefined;
  const files = groupFiles(handle.cgroup, pids);
  const processes = pids.map(processUse);
  const sum = (read: (use: ProcessUse) => number): number => processes.reduce((total, use) => total + read(use), 0);
  return {
    cpuMs: cpuOf(files) ?? sum(({ cpuMs }) => cpuMs),
    memoryBytes: memoryOf(files) ?? sum(({ memoryBytes }) => memoryBytes),
    processes: pids.length,
  };
}

type ReadGroupFile = (name: string) => string | undefined;

/**
 * Reads a file of the agent's groups, in whichever hierarchy has it. They are asked of one of its processes: where Docker makes
 * them is Docker's to say. A group of another name is not the agent's alone.
 */
function groupFiles(cgroup: string, pids: readonly number[]): ReadGroupFile {
  if (cgroup === '') return () => undefined;
  const groups = [cgroup, ...groupsOfFirst(pids).filter((group) => basename(group) === basename(cgroup))];
  return (file) => {
    for (const group of groups) {
      const text = readOrUndefined(join(group, file));
      if (text !== undefined) return text;
    }
    return undefined;
  };
}

/** Of the first process that is still there. */
function groupsOfFirst(pids: readonly number[]): string[] {
  for (const pid of pids) {
    try {
      return [...controlGroupsOf(pid).values()];
    } catch {
      // It has ended since it was listed.
    }
  }
  return [];
}

function cpuOf(read: ReadGroupFile): number | undefined {
  const micros = /^usage_usec (\d+)$/m.exec(read('cpu.stat') ?? '')?.[1];
  if (micros !== undefined) return Math.floor(Number(micros) / 1000);
  const nanos = read('cpuacct.usage');
  return nanos === undefined ? undefined : Math.floor(Number(nanos) / 1_000_000);
}

function memoryOf(read: ReadGroupFile): number | undefined {
  const text = read('memory.current') ?? read('memory.usage_in_bytes');
  return text === undefined ? undefined : Number(text);
}

interface ProcessUse {
  cpuMs: number;
  memoryBytes: number;
}

/** Children that it has waited for count as its own. Source: proc_pid_stat(5). */
function processUse(pid: number): ProcessUse {
  const text = readOrUndefined(`/proc/${String(pid)}/stat`) ?? '';
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [user, system, childUser, childSystem] = [11, 12, 13, 14].map((at) => Number(fields[at] ?? 0));
  return {
    cpuMs: ((user ?? 0) + (system ?? 0) + (childUser ?? 0) + (childSystem ?? 0)) * TICK_MS,
    memoryBytes: Math.max(0, Number(fields[21] ?? 0)) * PAGE_BYTES,
  };
}

/** What cannot be read is not there: a sample is no proof of anything. */
function readOrUndefined(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
