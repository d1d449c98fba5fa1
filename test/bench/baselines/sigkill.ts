import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';

/**
 * Milliseconds from a bare SIGKILL of a bubblewrap sandbox's init, with an idle node inside as in an agent's, to the moment at
 * which neither it nor the launcher is left, `count` times. No code of Capstan takes part.
 */
export async function measureSigkillToGone(count: number): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < count; i += 1) samples.push(await killOne());
  return samples;
}

async function killOne(): Promise<number> {
  const sandbox = ['--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc', '--unshare-all', '--die-with-parent'];
  const program = [process.execPath, '--eval', 'console.log("up"); setInterval(() => undefined, 60_000)'];
  const child = spawn('bwrap', [...sandbox, '--info-fd', '3', ...program], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
  const exited = once(child, 'exit');
  const up = once(child.stdout as Readable, 'data');
  const { 'child-pid': init } = (await json(child.stdio[3] as Readable)) as { 'child-pid': number };
  await up;
  const started = performance.now();
  process.kill(init, 'SIGKILL');
  await exited;
  while (existsSync(`/proc/${String(init)}`)) await new Promise((resolve) => setImmediate(resolve));
  return performance.now() - started;
}
