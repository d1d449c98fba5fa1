import { readFileSync } from 'node:fs';
import type { RegisterLine } from '../history/history.ts';

/** Registered processes that live, of the agents that `isMeant`; found by pid and start time, without the product's search. */
export function livingOf(
  register: readonly RegisterLine[],
  isMeant: (agentId: string) => boolean = () => true,
): { agentId: string; pid: number }[] {
  return register.flatMap(({ kind, agentId, handle }) => {
    if (kind !== 'agent' || agentId === undefined || !isMeant(agentId)) return [];
    const processes = handle?.processes ?? [];
    return processes.filter((it) => startOf(it.pid) === it.startTicks).map(({ pid }) => ({ agentId, pid }));
  });
}

/** Ticks from boot to the process's start; undefined where none lives, and a zombie does not. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** A variable with which a process was started. */
export function environmentOf(pid: number, name: string): string | undefined {
  const lines = readFileSync(`/proc/${String(pid)}/environ`, 'utf8').split('\0');
  return lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);
}
