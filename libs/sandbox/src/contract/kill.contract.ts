import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isGone, members, signalHandle, waitGone } from '../kill/handle.js';
import type { ContractRoom } from './room.js';
import { kindsOfGroups, signalReadOnly, type GroupKind } from './support.js';

/** How an agent ends for certain. @param groups that hold its processes, where root can make any of them */
export function killContract(room: ContractRoom, groups: readonly GroupKind[]): void {
  const withGroup = groups.some((kind) => kindsOfGroups().includes(kind)) ? it : it.skip;

  describe('kill', () => {
    it('ends an agent that ignores every signal it can', async () => {
      await room.killAndSee(await room.started('trap "" TERM INT HUP QUIT USR1 USR2'));
    });

    it('ends what forked twice, left its session and closed its outputs', async () => {
      const sandbox = await room.started(
        'for i in 1 2 3; do (setsid sh -c "trap : TERM; (sleep 1000 & sleep 1000) >/dev/null 2>&1 </dev/null" &) & done; sleep 0.1',
      );
      expect(members(sandbox.handle).length).toBeGreaterThan(6);
      await room.killAndSee(sandbox);
    });

    it('lets go of what an agent holds: files that are open, without a name or locked, and where it stands', async () => {
      const work = join(room.path, 'work');
      const hold = `mkdir -p work/deep; cd work/deep
        exec 3>open 4>nameless 5>../locked; echo x >&3; echo x >&4; rm nameless; flock 5
        (cd /room/work; exec tail -f deep/open > /dev/null) &`;
      const isLocked = (): boolean => spawnSync('flock', ['--nonblock', join(work, 'locked'), 'true']).status !== 0;
      const sandbox = await room.started(hold);
      expect(isLocked()).toBe(true);
      await room.killAndSee(sandbox);
      expect(isLocked()).toBe(false);
      rmSync(work, { recursive: true });
      expect(existsSync(work)).toBe(false);
      await sandbox.exited;
      await sandbox.dispose();
    });

    if (groups.length > 0) {
      withGroup('ends what forked twice even where the control group may only be read', async () => {
        const { handle } = await room.started(
          '(setsid sh -c "trap : TERM; (sleep 1000 & sleep 1000)" >/dev/null 2>&1 &)',
        );
        expect(handle.cgroup).not.toBe('');
        await signalReadOnly(handle);
        expect(await waitGone(handle, 15_000)).toBe(true);
      });
    }

    it('leaves nothing behind when the agent’s first process ends and others do not', async () => {
      const sandbox = await room.prepare('setsid sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 & exit 3');
      await sandbox.go();
      expect((await sandbox.exited).exitCode).toBe(3);
      expect(await waitGone(sandbox.handle, 5000)).toBe(true);
    });

    it('says that an agent lives as long as one process of it does', async () => {
      const sandbox = await room.started('');
      expect(isGone(sandbox.handle)).toBe(false);
      expect(await waitGone(sandbox.handle, 30)).toBe(false);
      await expect(sandbox.dispose()).rejects.toMatchObject({ code: 'sandbox-busy' });
      await room.killAndSee(sandbox);
    });

    it('is gone only when registered processes, control group and PID namespace all are', async () => {
      const { handle } = await room.started('');
      const nothing = { ...handle, processes: [], pidNamespace: 0n, cgroup: '' };
      expect(isGone(nothing)).toBe(true);
      expect(isGone({ ...nothing, processes: handle.processes })).toBe(false);
      expect(isGone({ ...nothing, pidNamespace: handle.pidNamespace })).toBe(false);
      expect(isGone({ ...nothing, cgroup: handle.cgroup })).toBe(handle.cgroup === '');
    });

    it('never signals a process that took over a pid, nor one in a namespace that took over an inode', async () => {
      const other = await room.started('');
      const { processes } = other.handle;
      expect(processes.length).toBeGreaterThan(0);
      const stale = {
        ...other.handle,
        cgroup: '',
        processes: processes.map(({ pid, startTicks }) => ({ pid, startTicks: startTicks - 1n })),
      };
      expect(isGone(stale)).toBe(true);
      await signalHandle(stale);
      await signalHandle({ ...other.handle, bootId: 'another-boot' });
      await delay(20);
      expect(isGone(other.handle)).toBe(false);
    });
  });
}
