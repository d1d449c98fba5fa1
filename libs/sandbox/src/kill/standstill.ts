import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Does the work while the control group stands still, for `mostMs` at most, of which a fifth may pass until it does: what takes
 * longer goes on while the group runs.
 *
 * Groups of v2 only: SIGKILL reaches what stands still there, so that no kill waits for this. Any other group runs on, and so
 * does one of which this process may not say it.
 *
 * @returns `still`: whether the group stood still all the while
 */
export async function whileStill<T>(
  group: string,
  mostMs: number,
  work: () => Promise<T>,
): Promise<{ result: T; still: boolean }> {
  const thaw = freeze(group);
  const timer = setTimeout(thaw, mostMs);
  try {
    const isStill = await settled(group, mostMs / 5);
    const result = await work();
    return { result, still: isStill && isFrozen(group) };
  } finally {
    clearTimeout(timer);
    thaw();
  }
}

/** Lets a group run that a process which has died since may have left standing still. */
export function thawLeftover(group: string): void {
  if (group === '') return;
  try {
    writeFileSync(join(group, 'cgroup.freeze'), '0', { flag: 'r+' });
  } catch {
    // No group of v2, not ours, or gone: then nobody of us has frozen it.
  }
}

/** @returns what undoes it, once: by the same descriptor, so that there always is one to do it with */
function freeze(group: string): () => void {
  let fd: number | undefined;
  const thaw = (): void => {
    const held = fd;
    fd = undefined;
    if (held === undefined) return;
    try {
      writeSync(held, '0');
    } catch {
      // The group is gone.
    } finally {
      closeSync(held);
    }
  };
  // What somebody else has frozen is his to thaw.
  if (group === '' || read(group, 'cgroup.freeze').trim() !== '0') return thaw;
  try {
    fd = openSync(join(group, 'cgroup.freeze'), 'r+');
    writeSync(fd, '1');
  } catch {
    thaw();
  }
  return thaw;
}

async function settled(group: string, patienceMs: number): Promise<boolean> {
  if (group === '' || read(group, 'cgroup.freeze').trim() !== '1') return false;
  const deadline = performance.now() + patienceMs;
  while (!isFrozen(group) && performance.now() < deadline) await delay(1);
  return isFrozen(group);
}

function isFrozen(group: string): boolean {
  return group !== '' && read(group, 'cgroup.events').includes('frozen 1');
}

function read(group: string, file: string): string {
  try {
    return readFileSync(join(group, file), 'latin1');
  } catch {
    return '';
  }
}
