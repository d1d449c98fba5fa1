import { spawn as spawnProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ReaperClient } from '@capstan/platform';
import { until } from './processes.js';

/** A process that the reaper knows under an agent's name, as if it were the agent's. */
export async function registeredProcess(
  dir: string,
  agentId: string,
): Promise<{ exited: Promise<unknown>; pid: number }> {
  const child = spawnProcess('unshare', ['--pid', '--fork', '--kill-child', 'sleep', '600'], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const pid = child.pid ?? 0;
  const init = await until(async () => {
    const children = await readFile(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8').catch(() => '');
    return children.trim() !== '' && Number(children.trim().split(' ')[0]);
  });
  const pidNamespace = (await stat(`/proc/${String(init)}/ns/pid`, { bigint: true })).ino;
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const processes = await Promise.all(
    [pid, init].map(async (each) => ({ pid: each, startTicks: await startTicks(each) })),
  );
  const reaper = new ReaperClient(join(dir, 'run', 'reaper.sock'));
  const handle = { driver: 'bubblewrap', bootId, processes, pidNamespace, cgroup: '' };
  expect(await reaper.register({ agentId, tenant: 'default', handle, killEpochs: [] })).toEqual({ ok: true });
  reaper.close();
  return { exited, pid: init };
}

async function startTicks(pid: number): Promise<bigint> {
  const text = await readFile(`/proc/${String(pid)}/stat`, 'utf8');
  return BigInt(text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '0');
}
