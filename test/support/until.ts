import { setTimeout as pause } from 'node:timers/promises';

/** Polls until `ask` answers something. @throws Error that names `what` after `timeoutMs`. */
export async function until<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`waited ${String(timeoutMs / 1000)} s in vain until ${what}`);
    await pause(20);
  }
}
