import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { handleFault, type KillHandle } from './handle.js';
import { bootId, hasProcess, isSameProcess, ownPidNamespace, readProcess } from './process.js';

const self = () => {
  const view = readProcess(process.pid);
  if (view === null) throw new Error('no process');
  return view;
};

describe('a process', () => {
  it('is recognised by pid and start time, whatever name it gave itself', async () => {
    const child = spawn('/bin/sh', ['-c', 'printf "x) R 1 (y" > /proc/$$/comm; echo; exec 2>&1; read -r line'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await once(child.stdout, 'data');
    const view = readProcess(child.pid ?? 0);
    expect(view).toMatchObject({ pid: child.pid, parentPid: process.pid, pidNamespace: ownPidNamespace() });
    if (view === null) return;
    expect(isSameProcess(view)).toBe(true);
    expect(isSameProcess({ pid: view.pid, startTicks: view.startTicks + 1n })).toBe(false);
    child.stdin.end();
    await once(child, 'exit');
    expect(isSameProcess(view)).toBe(false);
    expect(readProcess(view.pid)).toBeNull();
  });

  it('is gone when it is a zombie that its parent does not collect', async () => {
    // The shell becomes a program that never waits for the child it was left with.
    const parent = spawn('/bin/sh', ['-c', 'sleep 0.05 & echo $!; exec sleep 1000'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const zombie = readProcess(Number(line));
    if (zombie === null) throw new Error('no child');
    while (readProcess(zombie.pid)?.state !== 'Z') await new Promise((resolve) => setImmediate(resolve));
    expect(isSameProcess(zombie)).toBe(true);
    expect(hasProcess(zombie)).toBe(false);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
  });
});

describe('a handle', () => {
  const handle = (changes: Partial<KillHandle>): KillHandle => ({
    driver: 'bubblewrap',
    bootId: bootId(),
    processes: [self(), self()],
    pidNamespace: 1n,
    cgroup: '',
    ...changes,
  });

  it.each([
    ['of another boot', handle({ bootId: 'other' }), 'another boot'],
    ['without an init', handle({ processes: [self()] }), 'exactly'],
    ['in the reaper’s own namespace', handle({ pidNamespace: ownPidNamespace() }), 'own PID namespace'],
    ['with a control group that is not an agent’s', handle({ cgroup: '/sys/fs/cgroup/system.slice' }), 'control group'],
    ['with a way out of the control groups', handle({ cgroup: '/sys/fs/cgroup/../capstan.x' }), 'control group'],
    [
      'with a pid that another process took over',
      handle({ processes: [{ pid: process.pid, startTicks: 1n }, self()] }),
      'launcher is gone',
    ],
    ['whose init is not the launcher’s child', handle({}), 'not a child'],
  ])('is not trusted when it is one %s', (_what, given, why) => {
    expect(handleFault(given)).toContain(why);
  });
});
