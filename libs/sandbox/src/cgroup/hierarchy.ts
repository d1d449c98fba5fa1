import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/**
 * Which control groups carry the freeze and the kill: `v2` (pure or beside v1 controllers), the `v1` freezer, or
 * `none`. Limits come from whichever hierarchy has the controller.
 */
export type ControlGroupKind = 'v2' | 'v1' | 'none';

export type LimitController = 'memory' | 'pids' | 'cpu';

/** Directories under which this process may make control groups; absent where it may not. */
export interface Hierarchy {
  v2?: string;
  freezer?: string;
  limits: Partial<Record<LimitController, string>>;
}

export interface HierarchySource {
  /** Text of /proc/self/mountinfo. */
  mountinfo: string;
  /** Text of /proc/self/cgroup. */
  membership: string;
}

/** Finds where this process may make control groups: below its own, so that its owner's limits hold for agents too. */
export function findHierarchy(source: HierarchySource = ownSource()): Hierarchy {
  const mounts = parseMounts(source.mountinfo);
  const own = parseMembership(source.membership);
  const v1 = (controller: string): string | undefined => {
    const mount = mounts.find((candidate) => candidate.v1.includes(controller));
    const path = own.get(controller);
    return mount === undefined || path === undefined
      ? undefined
      : writable(resolve(mount.point, `.${below(mount.root, path)}`));
  };
  const limits: Hierarchy['limits'] = {};
  for (const controller of ['memory', 'pids', 'cpu'] as const) {
    const directory = v1(controller);
    if (directory !== undefined) limits[controller] = directory;
  }
  const unified = mounts.find((mount) => mount.v2);
  const v2 = unified && v2Parent(unified.point, below(unified.root, own.get('') ?? '/'));
  const freezer = v1('freezer');
  return { limits, ...(v2 !== undefined && { v2 }), ...(freezer !== undefined && { freezer }) };
}

/**
 * Directories of the control groups that a process is in, by controller; by '' the one of v2. What this process cannot see is
 * absent: another mount, or a control-group namespace of its own.
 */
export function controlGroupsOf(pid: number, source: HierarchySource = sourceOf(pid)): Map<string, string> {
  const mounts = parseMounts(source.mountinfo);
  const found = new Map<string, string>();
  for (const [controller, path] of parseMembership(source.membership)) {
    const mount = mounts.find(({ v2, v1 }) => (controller === '' ? v2 : v1.includes(controller)));
    const directory = mount && resolve(mount.point, `.${below(mount.root, path)}`);
    if (directory !== undefined && existsSync(directory)) found.set(controller, directory);
  }
  return found;
}

/** Every directory of the hierarchy, each once. */
export function parentsOf({ v2, freezer, limits }: Hierarchy): string[] {
  return [...new Set([v2, freezer, ...Object.values(limits)].filter((it) => it !== undefined))];
}

/** Controllers that the children of a v2 group have. */
export function childControllers(group: string): string[] {
  try {
    return readFileSync(join(group, 'cgroup.subtree_control'), 'utf8').trim().split(' ');
  } catch {
    return [];
  }
}

/**
 * A v2 group with processes of its own cannot hand controllers to children ("no internal processes"), but its
 * parent can: so an agent's group is our sibling where the parent is ours to write and limits memory and processes.
 */
function v2Parent(mount: string, own: string): string | undefined {
  const here = resolve(mount, `.${own}`);
  if (own === '/') return writable(here);
  const parent = dirname(here);
  const hands = childControllers(parent);
  if (hands.includes('memory') && hands.includes('pids') && writable(parent) !== undefined) return parent;
  return writable(here);
}

interface CgroupMount {
  point: string;
  root: string;
  v2: boolean;
  v1: string[];
}

/** Source: proc_pid_mountinfo(5). */
function parseMounts(mountinfo: string): CgroupMount[] {
  return mountinfo.split('\n').flatMap((line): CgroupMount[] => {
    const [left, right] = line.split(' - ');
    const [, , , root, point] = left?.split(' ') ?? [];
    const [type, , options] = right?.split(' ') ?? [];
    if (root === undefined || point === undefined) return [];
    if (type === 'cgroup2') return [{ point, root, v2: true, v1: [] }];
    return type === 'cgroup' ? [{ point, root, v2: false, v1: options?.split(',') ?? [] }] : [];
  });
}

/** Own path by controller; by '' for v2. Source: cgroups(7). */
function parseMembership(text: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const controller of controllers.split(',')) paths.set(controller, path);
  }
  return paths;
}

/** A path of the whole hierarchy as seen through a mount that shows only the part below `root` (a container's). */
function below(root: string, path: string): string {
  if (root === '/') return path;
  return path === root || path.startsWith(`${root}/`) ? path.slice(root.length) || '/' : path;
}

function writable(directory: string): string | undefined {
  try {
    accessSync(directory, constants.W_OK);
    return existsSync(join(directory, 'cgroup.procs')) ? directory : undefined;
  } catch {
    return undefined;
  }
}

function ownSource(): HierarchySource {
  return sourceOf('self');
}

/** Where this process sees what another one is in. */
function sourceOf(pid: number | 'self'): HierarchySource {
  return {
    mountinfo: readFileSync('/proc/self/mountinfo', 'utf8'),
    membership: readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8'),
  };
}
