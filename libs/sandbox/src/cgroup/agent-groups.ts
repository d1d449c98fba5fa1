import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Enforcement, SandboxLimits } from '../port.js';
import { errorCode, isAbsence } from '../kill/process.js';
import { SandboxFault } from '../sandbox-fault.js';
import {
  childControllers,
  findHierarchy,
  parentsOf,
  type ControlGroupKind,
  type Hierarchy,
  type LimitController,
} from './hierarchy.js';

const CPU_PERIOD_US = 100_000;
const REMOVAL_PATIENCE_MS = 2000;

/** The control groups of one agent, made before its sandbox. */
export interface AgentGroups {
  /** The group that is frozen and killed; empty where none could be made. */
  main: string;
  /** Every group that the sandbox is launched into, `main` included. */
  all: string[];
  enforced: Pick<Enforcement, 'memory' | 'pids' | 'cpus'>;
}

/** Whose groups these are: one agent's of one owner; several owners of a machine may know an agent by the same id. */
export interface GroupOwner {
  agentId: string;
  owner: string;
}

/** Makes the agent's groups and sets its limits; what cannot be made or set is reported as not enforced. */
export function makeGroups(whose: GroupOwner, limits: SandboxLimits, want: ControlGroupKind | 'auto'): AgentGroups {
  const hierarchy = findHierarchy();
  // Unique for ever, so that a handle can never come to mean a later agent's group.
  const name = `${namesOf(whose)}${randomBytes(4).toString('hex')}`;
  const made: string[] = [];
  const make = (parent: string | undefined): string => {
    if (parent === undefined) return '';
    const group = join(parent, name);
    if (made.includes(group)) return group;
    try {
      mkdirSync(group);
    } catch {
      return '';
    }
    made.push(group);
    return group;
  };
  let main = '';
  if (want === 'auto' || want === 'v2') main = make(hierarchy.v2);
  if (main === '' && (want === 'auto' || want === 'v1')) main = make(hierarchy.freezer);
  const enforced =
    want === 'none' ? { memory: false, pids: false, cpus: false } : setLimits(limits, hierarchy, main, make);
  return { main, all: made, enforced };
}

/** The agent's groups in every hierarchy in which this process makes some, of however many sandboxes. */
export function groupsOf(whose: GroupOwner): string[] {
  const prefix = namesOf(whose);
  return parentsOf(findHierarchy()).flatMap((parent) =>
    namesIn(parent)
      .filter((name) => name.startsWith(prefix) && /^[0-9a-f]{8}$/.test(name.slice(prefix.length)))
      .map((name) => join(parent, name)),
  );
}

/** Ids of the owner's agents of whom any group is there. */
export function agentsWithGroups(owner: string): string[] {
  const names = parentsOf(findHierarchy()).flatMap(namesIn);
  const ids = names.flatMap((name) => /^capstan\.([a-z0-9-]+)\.[0-9a-f]{16}$/.exec(name)?.[1] ?? []);
  return [...new Set(ids)].filter((agentId) => groupsOf({ agentId, owner }).length > 0);
}

/** What the names of the agent's groups begin with; an agent's id holds no dot. */
function namesOf({ agentId, owner }: GroupOwner): string {
  return `capstan.${agentId}.${createHash('sha256').update(owner).digest('hex').slice(0, 8)}`;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isAbsence(error)) return [];
    throw error;
  }
}

/** Removes the agent's groups in every hierarchy, named by any one of them; waits a moment for the last to leave. */
export async function removeControlGroups(group: string): Promise<void> {
  if (group === '') return;
  const name = basename(group);
  const groups = new Set([group, ...parentsOf(findHierarchy()).map((parent) => join(parent, name))]);
  for (const each of groups) await removeGroup(each);
}

async function removeGroup(group: string): Promise<void> {
  const deadline = performance.now() + REMOVAL_PATIENCE_MS;
  while (!tryRemoveGroup(group)) {
    if (performance.now() > deadline) {
      throw new SandboxFault('sandbox-busy', 'The control group cannot be removed.', group);
    }
    await delay(5);
  }
}

/**
 * Removes a group that is empty; whether it is gone. False where it is busy, as it stays until its last dead process was collected by its
 * parent. Throws SandboxFault `sandbox-busy` where the kernel refuses for another reason.
 */
export function tryRemoveGroup(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    if (isAbsence(error)) return true;
    if (errorCode(error) === 'EBUSY') return false;
    throw new SandboxFault('sandbox-busy', 'The control group cannot be removed.', group, { cause: error });
  }
}

function setLimits(
  limits: SandboxLimits,
  hierarchy: Hierarchy,
  main: string,
  make: (parent: string | undefined) => string,
): AgentGroups['enforced'] {
  const isV2 = main !== '' && existsSync(join(main, 'cgroup.controllers'));
  if (isV2 && hierarchy.v2 !== undefined) handDown(hierarchy.v2);
  /** Where the controller is: in the v2 group if it has it, else in a v1 hierarchy. */
  const place = (controller: LimitController, v2File: string): { v2: boolean; group: string } => {
    if (isV2 && existsSync(join(main, v2File))) return { v2: true, group: main };
    return { v2: false, group: make(hierarchy.limits[controller]) };
  };
  const enforced = { memory: false, pids: false, cpus: false };
  if (limits.memoryBytes !== undefined) {
    const { v2, group } = place('memory', 'memory.max');
    const bytes = String(Math.floor(limits.memoryBytes));
    enforced.memory = set(group, v2 ? 'memory.max' : 'memory.limit_in_bytes', bytes);
    // Swap would stretch the limit; kernels without swap accounting lack the file.
    if (enforced.memory) set(group, v2 ? 'memory.swap.max' : 'memory.memsw.limit_in_bytes', v2 ? '0' : bytes);
  }
  if (limits.pids !== undefined) enforced.pids = set(place('pids', 'pids.max').group, 'pids.max', String(limits.pids));
  if (limits.cpus !== undefined) {
    const { v2, group } = place('cpu', 'cpu.max');
    const quota = String(Math.max(1000, Math.round(limits.cpus * CPU_PERIOD_US)));
    enforced.cpus = v2
      ? set(group, 'cpu.max', `${quota} ${String(CPU_PERIOD_US)}`)
      : set(group, 'cpu.cfs_period_us', String(CPU_PERIOD_US)) && set(group, 'cpu.cfs_quota_us', quota);
  }
  return enforced;
}

/** Lets the children of a v2 group have limits; fails silently where the kernel forbids it, and the limit is reported. */
function handDown(parent: string): void {
  const has = childControllers(parent);
  for (const controller of ['memory', 'pids', 'cpu']) {
    if (!has.includes(controller)) set(parent, 'cgroup.subtree_control', `+${controller}`);
  }
}

function set(group: string, file: string, value: string): boolean {
  if (group === '') return false;
  try {
    writeFileSync(join(group, file), value);
    return true;
  } catch {
    return false;
  }
}
