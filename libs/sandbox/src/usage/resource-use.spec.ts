import { spawn, type ChildProcess } from 'node:child_process';
import { until } from '../../../../test/support/until.js';
import { bootId, readProcess } from '../kill/process.js';
import type { KillHandle } from '../kill/handle.js';
import { resourceUse } from './resource-use.js';

describe('resourceUse', () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  /** A process of its own, without a control group, named as an agent's launcher would be. */
  function handleOf(script: string): KillHandle {
    const child = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
    children.push(child);
    const view = readProcess(child.pid ?? 0);
    if (view === null) throw new Error('not started');
    const processes = [{ pid: view.pid, startTicks: view.startTicks }];
    return { driver: 'bubblewrap', bootId: bootId(), processes, pidNamespace: 0n, cgroup: '' };
  }

  it('sees processor time and memory grow, without a control group', async () => {
    const handle = handleOf('const b = Buffer.alloc(64 << 20, 1); for (;;) b[0] += 1;');
    const use = await until('it has used both', () => {
      const seen = resourceUse(handle);
      return seen !== undefined && seen.cpuMs > 100 && seen.memoryBytes > 64 << 20 ? seen : undefined;
    });
    expect(use.processes).toBe(1);
  });

  it('says nothing of what is gone', async () => {
    const handle = handleOf('setInterval(() => undefined, 1000)');
    children[0]?.kill('SIGKILL');
    await until('it is gone', () => resourceUse(handle) === undefined);
  });
});
