import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { controlGroupsOf } from '../cgroup/hierarchy.js';
import { groupMembers } from '../kill/control-group.js';
import type { Enforcement, SandboxLimits } from '../port.js';

const CPU_PERIOD_US = 100_000;

/** What the kernel says of the container's init: that Docker was asked is no proof. */
export function enforcedOn(pid: number, limits: SandboxLimits, ownUid: boolean): Enforcement {
  const groups = controlGroupsOf(pid);
  const holds = (limit: number | undefined, controller: string, v1File: string, v2File: string): boolean => {
    if (limit === undefined) return false;
    const read = valueOf(groups.get(''), v2File) ?? valueOf(groups.get(controller), v1File);
    return read !== undefined && Math.abs(read - limit) <= Math.max(1, limit / 100);
  };
  const quotaUs = limits.cpus === undefined ? undefined : limits.cpus * CPU_PERIOD_US;
  return {
    memory: holds(limits.memoryBytes, 'memory', 'memory.limit_in_bytes', 'memory.max'),
    pids: holds(limits.pids, 'pids', 'pids.max', 'pids.max'),
    cpus: holds(quotaUs, 'cpu', 'cpu.cfs_quota_us', 'cpu.max'),
    disk: false,
    seccomp: /^Seccomp:\s*2$/m.test(readOrEmpty(`/proc/${String(pid)}/status`)),
    ownUid,
  };
}

/** The group that is frozen and killed: of v2 where it has the processes, else the v1 freezer's; '' where none can be seen. */
export function killGroupOf(pid: number): string {
  const groups = controlGroupsOf(pid);
  const candidates = [groups.get(''), groups.get('freezer')].filter((group) => group !== undefined);
  return candidates.find((group) => isOfContainer(group) && groupMembers(group).includes(pid)) ?? '';
}

/** Beside v1 controllers, v2 may leave a container in a group that it shares with the daemon. */
function isOfContainer(group: string): boolean {
  return /(?:^|[/-])[0-9a-f]{64}(?:\.scope)?$/.test(group);
}

function valueOf(group: string | undefined, file: string): number | undefined {
  if (group === undefined) return undefined;
  const value = Number.parseInt(readOrEmpty(join(group, file)), 10);
  return Number.isNaN(value) ? undefined : value;
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
