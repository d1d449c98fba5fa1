import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { MeshInstance } from '@capstan/localmesh';
import { ReaperClient } from '@capstan/platform';
import { hasProcess, type ProcessIdentity, readProcess } from '@capstan/sandbox';

/** Where all of an agent's processes are, as its reaper registered it. */
export interface AgentPlace {
  /** Its launcher where it has one, and the init of its PID namespace. */
  processes: ProcessIdentity[];
  /** Inode of that namespace. */
  pidNamespace: bigint;
  /** Its control group; empty where it has none. */
  cgroup: string;
}

/** undefined before the agent is registered and after its death was observed. */
export async function placeOf(instance: Pick<MeshInstance, 'dir'>, agentId: string): Promise<AgentPlace | undefined> {
  const reaper = new ReaperClient(join(instance.dir, 'run', 'reaper.sock'));
  try {
    const { agents } = await reaper.describe();
    return agents.find((agent) => agent.agentId === agentId)?.handle;
  } finally {
    reaper.close();
  }
}

/**
 * Every process on this host that still belongs to the agent, found without the product's own search: by its pids, its
 * control group and its PID namespace. (A namespace whose init is gone is empty, and its number may be another's by now.)
 */
export function livingIn({ processes, pidNamespace, cgroup }: AgentPlace): number[] {
  const init = processes.at(-1);
  const isNamespaceOpen = init !== undefined && hasProcess(init);
  const group = basename(cgroup);
  return pids().filter((pid) => {
    const view = attempt(() => readProcess(pid) ?? undefined);
    if (view === undefined || !hasProcess(view)) return false;
    if (processes.some((it) => it.pid === pid && it.startTicks === view.startTicks)) return true;
    if (isNamespaceOpen && view.pidNamespace === pidNamespace) return true;
    return group !== '' && groupsOf(pid).includes(group);
  });
}

/** What runs of the agent: one look where it has a control group, so nothing that is short-lived slips through. */
export function membersOf(place: AgentPlace): number[] {
  if (place.cgroup === '') return livingIn(place);
  const members = attempt(() => readFileSync(join(place.cgroup, 'cgroup.procs'), 'utf8')) ?? '';
  return members.split('\n').filter(Boolean).map(Number);
}

/** Every process of an agent that runs. */
export async function processesOf(instance: MeshInstance, agentId: string): Promise<ProcessIdentity[]> {
  const place = await placeOf(instance, agentId);
  if (place === undefined) return [];
  return livingIn(place)
    .map(readProcess)
    .filter((view) => view !== null);
}

/** The processes that work in `directory`. */
export function processesIn(directory: string): number[] {
  return pids().filter((pid) => attempt(() => readlinkSync(`/proc/${String(pid)}/cwd`)) === directory);
}

/** The one process that works in `directory`, or the first of them. @throws Error where there is none */
export function pidIn(directory: string): number {
  const [pid] = processesIn(directory);
  if (pid === undefined) throw new Error(`no process works in ${directory}`);
  return pid;
}

/** The arguments with which a process was started. */
export function commandOf(pid: number): string[] {
  return (attempt(() => readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')) ?? '').split('\0');
}

/** The environment with which a process was started. */
export function environmentOf(pid: number): string {
  return attempt(() => readFileSync(`/proc/${String(pid)}/environ`, 'utf8')) ?? '';
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function groupsOf(pid: number): string {
  return attempt(() => readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8')) ?? '';
}

/** undefined where the process has ended meanwhile. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Undefined where the process is gone. */
export function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

/** The process group that a process is in; undefined where that one is gone, or only waits to be noticed so. */
export function groupOf(pid: number): number | undefined {
  const stat = attempt(() => readFileSync(`/proc/${String(pid)}/stat`, 'utf8')) ?? '';
  const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === undefined || state === 'Z' || state === 'X' ? undefined : Number(group);
}

export function processesOfGroup(group: number): number[] {
  return pids().filter((pid) => groupOf(pid) === group);
}

export function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent);
}
