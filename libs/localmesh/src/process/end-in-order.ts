import { waitUntil } from '../state/wait-until.js';
import { isAlive } from './process-identity.js';

/** A process that is to be ended, by nobody's child handle: whoever ends it may not have started it. */
export interface EndingProcess {
  /** "hub", "quay/reaper" */
  name: string;
  pid: number;
  identity: string;
  /** Asks it to end; default SIGTERM. */
  stopSignal?: NodeJS.Signals;
}

/**
 * Who goes when. An orchestrator kills its agents as it ends, and needs its reaper for that; everybody needs the servers,
 * which have no place in this list and go last.
 */
const ORDER = [/\/spoke$/, /\/orchestrator$/, /\/reaper$/, /^hub(-\d+)?$/];

/** As for a mesh that is taken down by its supervisor: what drains has 10 s for it. */
const GRACE_MS = 12_000;
/** A process that was sent SIGKILL is gone at once, unless the kernel is in the middle of something for it. */
const GONE_MS = 5000;

/** Asks each process to end, in order, and cuts those that do not. */
export async function endInOrder(processes: readonly EndingProcess[], graceMs = GRACE_MS): Promise<void> {
  const stages = Map.groupBy(processes, stageOf);
  for (const stage of [...stages.keys()].sort((a, b) => a - b)) await end(stages.get(stage) ?? [], graceMs);
}

function stageOf({ name }: EndingProcess): number {
  const place = ORDER.findIndex((pattern) => pattern.test(name));
  return place === -1 ? ORDER.length : place;
}

async function end(processes: readonly EndingProcess[], graceMs: number): Promise<void> {
  const areGone = (): boolean => processes.every(({ pid, identity }) => !isAlive(pid, identity));
  for (const entry of processes) signal(entry, entry.stopSignal ?? 'SIGTERM', entry.pid);
  if (await waitUntil(areGone, graceMs)) return;
  // Each leads a process group of its own.
  for (const entry of processes) signal(entry, 'SIGKILL', -entry.pid);
  await waitUntil(areGone, GONE_MS);
}

function signal({ pid, identity }: EndingProcess, name: NodeJS.Signals, target: number): void {
  if (!isAlive(pid, identity)) return;
  try {
    process.kill(target, name);
  } catch {
    // It ended between the question and the signal.
  }
}
