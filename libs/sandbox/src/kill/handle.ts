import { setTimeout as delay } from 'node:timers/promises';
import { groupMembers, killGroup, sendKill } from './control-group.js';
import {
  allPids,
  bootId,
  hasProcess,
  isNamespaceInit,
  isSameProcess,
  ownPidNamespace,
  pidNamespaceOf,
  readProcess,
} from './process.js';
import type { ProcessIdentity } from './process.js';

const DOCKER_GROUP = /^(?:[0-9a-f]{64}|docker-[0-9a-f]{64}\.scope)$/;

/** Names an agent's processes for ever on one boot: enough to kill them and to see that none is left. */
export interface KillHandle {
  driver: 'bubblewrap' | 'docker';
  bootId: string;
  /** Host pids: the sandbox's init last; before it bubblewrap's launcher. Docker's own processes are nobody's to kill. */
  processes: ProcessIdentity[];
  /** Inode of the sandbox's PID namespace. */
  pidNamespace: bigint;
  /** Absolute path of the agent's own control group; empty where none could be made. */
  cgroup: string;
}

/** Pids that belong to the agent and can still run, the sandbox's launcher and init included. */
export function members(handle: KillHandle): number[] {
  if (handle.bootId !== bootId()) return [];
  const registered = handle.processes.filter(hasProcess).map(({ pid }) => pid);
  return [...new Set([...registered, ...livingGroupMembers(handle), ...namespaceMembers(handle)])];
}

/** Whether nothing of the agent is left: registered processes, control group and PID namespace, all three. */
export function isGone(handle: KillHandle): boolean {
  if (handle.bootId !== bootId()) return true;
  // Cheapest first; the scan of /proc only confirms.
  if (handle.processes.some(hasProcess)) return false;
  if (livingGroupMembers(handle).length > 0) return false;
  return namespaceMembers(handle).length === 0;
}

/**
 * Sends SIGKILL to everything that belongs to the agent, once. Says nothing about death: ask `isGone`.
 *
 * Before each signal the target is recognised again, by pid and start ticks, by namespace or by control group.
 * (Node offers no pidfd: between that look and the signal a few microseconds remain.)
 */
export async function signalHandle(handle: KillHandle): Promise<void> {
  if (handle.bootId !== bootId()) return;
  if (handle.cgroup !== '') await killGroup(handle.cgroup);
  const init = handle.processes.at(-1);
  // A namespace's init takes the whole namespace with it: the kernel kills the rest before init is gone.
  if (init !== undefined && isSameProcess(init) && pidNamespaceOf(init.pid) === handle.pidNamespace) sendKill(init.pid);
  for (const launcher of handle.processes.slice(0, -1)) if (isSameProcess(launcher)) sendKill(launcher.pid);
  for (const pid of namespaceMembers(handle)) {
    if (pidNamespaceOf(pid) === handle.pidNamespace) sendKill(pid);
  }
}

/** Waits, without any signal, until nothing of the agent is left; false when `timeoutMs` passed first. */
export async function waitGone(handle: KillHandle, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (let pause = 1; ; pause = Math.min(pause * 1.5, 20)) {
    if (isGone(handle)) return true;
    const left = deadline - performance.now();
    if (left <= 0) return false;
    await delay(Math.min(pause, left));
  }
}

/**
 * Why the handle must not be trusted, as a sentence, or null. Asked when an agent is registered, so that no handle
 * can point a later kill at a process that is not the agent's.
 */
export function handleFault(handle: KillHandle): string | null {
  if (handle.bootId !== bootId()) return 'the handle is of another boot';
  const init = handle.processes.at(-1);
  const [launcher] = handle.processes;
  const isWhole = handle.processes.length === (handle.driver === 'docker' ? 1 : 2);
  if (launcher === undefined || init === undefined || !isWhole) {
    return 'the handle does not name exactly the processes of its driver';
  }
  if (handle.pidNamespace === ownPidNamespace()) return "the handle names the reaper's own PID namespace";
  if (handle.cgroup !== '' && !isAgentGroup(handle)) return 'the control group is not one of an agent';
  const views = { launcher: readProcess(launcher.pid), init: readProcess(init.pid) };
  if (views.launcher?.startTicks !== launcher.startTicks) return 'the launcher is gone';
  if (views.init?.startTicks !== init.startTicks) return 'the init is gone';
  if (handle.driver === 'docker' && !isNamespaceInit(init.pid)) return 'the init is not one';
  if (handle.driver === 'bubblewrap' && views.init.parentPid !== launcher.pid) {
    return 'the init is not a child of the launcher';
  }
  if (views.init.pidNamespace !== handle.pidNamespace) return 'the init is not in the namespace';
  const group = handle.cgroup === '' ? null : groupMembers(handle.cgroup);
  if (group !== null && (!group.includes(launcher.pid) || !group.includes(init.pid))) {
    return 'launcher and init are not in the control group';
  }
  return null;
}

/** Docker names the groups of containers itself: by their ids, and where systemd makes them `docker-ID.scope`. */
function isAgentGroup({ driver, cgroup }: KillHandle): boolean {
  const name = driver === 'docker' ? DOCKER_GROUP : /^capstan\.[^/]+$/;
  const parts = cgroup.split('/');
  return cgroup.startsWith('/sys/fs/cgroup/') && !parts.includes('..') && name.test(parts.at(-1) ?? '');
}

function livingGroupMembers(handle: KillHandle): number[] {
  return handle.cgroup === '' ? [] : groupMembers(handle.cgroup);
}

/**
 * Living processes in the handle's PID namespace.
 *
 * The kernel reuses inode numbers: once the agent's namespace is gone, its number may name a later agent's. The
 * namespace is the agent's only as long as its init is the registered one.
 */
function namespaceMembers(handle: KillHandle): number[] {
  if (handle.pidNamespace === 0n) return [];
  const found = allPids().filter((pid) => {
    if (pidNamespaceOf(pid) !== handle.pidNamespace) return false;
    const view = readProcess(pid);
    return view !== null && hasProcess(view);
  });
  const init = handle.processes.at(-1);
  const isForeign =
    init !== undefined && found.some((pid) => isNamespaceInit(pid) && (pid !== init.pid || !isSameProcess(init)));
  return isForeign ? [] : found;
}
