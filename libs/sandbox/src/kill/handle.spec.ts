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

/** As Docker's ids are. */
const ID = '0123456789abcdef'.repeat(4);

describe('a handle', () => {
  const handle = (changes: Partial<KillHandle>): KillHandle => ({
    driver: 'bubblewrap',
    bootId: bootId(),
    processes: [self(), self()],
    pidNamespace: 1n,
    cgroup: '',
    ...changes,
  });

  const docker = (group: string): KillHandle =>
    handle({ driver: 'docker', processes: [self()], cgroup: `/sys/fs/cgroup/freezer/docker/${group}` });

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
    ['of Docker that names more than the init', handle({ driver: 'docker' }), 'exactly'],
    ['of Docker whose process is no init', handle({ driver: 'docker', processes: [self()] }), 'not one'],
    ['of Docker with an agent’s group of ours', docker('capstan.agent.0123456789abcdef'), 'control group'],
    ['of Docker with a group of the system', docker('system.slice'), 'control group'],
    ['of bubblewrap with a group of Docker’s', handle({ cgroup: `/sys/fs/cgroup/docker/${ID}` }), 'control group'],
  ])('is not trusted when it is one %s', (_what, given, why) => {
    expect(handleFault(given)).toContain(why);
  });

  it('of Docker may name the groups that Docker makes, with cgroupfs and with systemd', () => {
    for (const group of [ID, `docker-${ID}.scope`])
      expect(handleFault(docker(group))).not.toContain('control group is');
  });
});
