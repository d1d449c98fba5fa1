import { setTimeout as pause } from 'node:timers/promises';

/** Asks until the answer is yes. @returns false once `timeoutMs` have passed. */
export async function waitUntil(
  ask: () => boolean | Promise<boolean>,
  timeoutMs: number,
  everyMs = 15,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (!(await ask())) {
    if (performance.now() > deadline) return false;
    await pause(everyMs);
  }
  return true;
}
