import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * What names one process for ever, where a pid alone is reused: boot and start time. Null where no such process lives;
 * a zombie does not live.
 */
export function processIdentity(pid: number): string | null {
  return process.platform === 'linux' ? fromProc(pid) : fromPs(pid);
}

/** True where the process that once had this identity still lives. */
export function isAlive(pid: number, identity: string): boolean {
  return processIdentity(pid) === identity;
}

function fromProc(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    // The name in brackets may hold spaces and brackets; what follows the last bracket is regular.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, startTicks] = [fields[0], fields[19]];
    if (state === 'Z' || state === 'X' || startTicks === undefined) return null;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${startTicks}`;
  } catch {
    return null;
  }
}

function fromPs(pid: number): string | null {
  try {
    const text = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return text.trim() === '' ? null : text.trim();
  } catch {
    return null;
  }
}
