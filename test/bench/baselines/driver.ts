import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { hostRuntime, signalHandle, waitGone, type SandboxDriver, type SandboxSpec } from '@capstan/sandbox';

/** A uid that no agent of a mesh is given. */
const UID = 299_999;

/** Milliseconds from the driver's `prepare` to the first word of a shell inside, `count` times, one after another. */
export async function measureDriver(driver: SandboxDriver, count: number): Promise<number[]> {
  // Docker makes its image when it is first asked for one.
  await startOne(driver, 'bench-first');
  const samples: number[] = [];
  for (let i = 0; i < count; i += 1) samples.push(await startOne(driver, `bench-${String(i)}`));
  return samples;
}

async function startOne(driver: SandboxDriver, agentId: string): Promise<number> {
  const spec: SandboxSpec = {
    agentId,
    argv: ['/bin/sh', '-c', 'echo up; exec sleep 60'],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
    uid: UID,
    gid: UID,
    // Docker's image has the host's programs already.
    mounts: driver.name === 'bubblewrap' ? hostRuntime() : [],
    limits: { memoryBytes: 256 * 1024 * 1024, pids: 64 },
    network: 'none',
  };
  const started = performance.now();
  const sandbox = await driver.prepare(spec);
  const up = once(sandbox.stdout, 'data');
  await sandbox.go();
  await up;
  const ms = performance.now() - started;
  await signalHandle(sandbox.handle);
  if (!(await waitGone(sandbox.handle, 5000))) throw new Error(`${agentId} is still there`);
  await sandbox.exited;
  await sandbox.dispose();
  return ms;
}
