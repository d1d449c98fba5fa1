import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findHierarchy } from '../cgroup/hierarchy.js';
import type { KillHandle } from '../kill/handle.js';

const LOADER = resolve(__dirname, '../../../../apps/spoke/test/from-source.mjs');
const SIGNAL = resolve(__dirname, '../../../../test/support/signal-handle.ts');
/** Runs the rest of its arguments where the directory $0 may only be read. */
const READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"';

export type GroupKind = 'v2' | 'v1';

/** Only root makes control groups for certain, and not every host has those of both versions. */
export function kindsOfGroups(): GroupKind[] {
  if (process.getuid?.() !== 0) return [];
  const { v2, freezer } = findHierarchy();
  return (['v2', 'v1'] as const).filter((kind) => (kind === 'v2' ? v2 : freezer) !== undefined);
}

/** Signals once, from a process that may only read the control group; for root, where there is one. */
export async function signalReadOnly(handle: KillHandle): Promise<void> {
  const text = JSON.stringify(handle, (_, value: unknown) => (typeof value === 'bigint' ? `${String(value)}n` : value));
  const program = [process.execPath, '--import', LOADER, SIGNAL, text];
  await promisify(execFile)('unshare', ['--mount', 'sh', '-c', READ_ONLY, handle.cgroup, ...program]);
}

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

/** Doubles its processes until there are 500: without a limit it hurts the machine that runs the test no more than that. */
export const FORK_BOMB =
  'bomb() { if [ "$1" -gt 7 ]; then exec sleep 1000; fi; bomb $(($1 + 1)) & bomb $(($1 + 1)) & wait; }; bomb 0 & exec sleep 1000';

/**
 * 128 KiB in four values, with a quote in each, and a script that prints their digests. It is more than a pipe holds at once:
 * once the host read back what it wrote, and the agent got a part or nothing.
 */
export function largeEnvironment(): { script: string; env: Record<string, string>; digests: string[] } {
  const values = ['ONE', 'TWO', 'THREE', 'FOUR'].map((name) => [name, `${name}'`.padEnd(32 << 10, name)] as const);
  return {
    script: values.map(([name]) => `printf "%s" "$${name}" | sha256sum | cut -d" " -f1`).join('; '),
    env: { PATH: '/usr/bin:/bin', ...Object.fromEntries(values) },
    digests: values.map(([, value]) => createHash('sha256').update(value).digest('hex')),
  };
}
