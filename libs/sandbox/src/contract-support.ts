import { setTimeout as delay } from 'node:timers/promises';

/** The first bytes of what `seq 1 …` prints. */
export function sequence(bytes: number): Buffer {
  const lines: string[] = [];
  for (let number = 1, length = 0; length < bytes; number += 1) {
    const line = `${String(number)}\n`;
    lines.push(line);
    length += line.length;
  }
  return Buffer.from(lines.join('')).subarray(0, bytes);
}

/** Polls a condition until it holds. */
export async function until(condition: () => boolean, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('the condition was not met in time');
    await delay(5);
  }
}
