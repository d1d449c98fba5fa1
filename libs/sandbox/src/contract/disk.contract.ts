import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContractRoom } from './room.js';
import { until } from './support.js';

const MIB = 1 << 20;

/** How much an agent may have on the disk. */
export function diskContract(room: ContractRoom): void {
  describe('the disk', () => {
    const hole = (name: string, bytes: number): string =>
      `dd if=/dev/zero of=${name} bs=1 count=1 seek=${String(bytes)} 2> /dev/null`;
    const touch = (name: string): void => writeFileSync(join(room.path, name), '');
    const WAIT = 'wait_for() { while ! [ -e /room/$1 ]; do sleep 0.02; done; }';

    it('is watched where that was asked for, which is never called enforced', async () => {
      const { enforced } = await room.prepare('true', { limits: { diskBytes: MIB, diskEntries: 100 } });
      expect(enforced.disk).toBe(false);
    });

    it('is filled up to the bound, what was there before not counted, and the agent ended that fills it further', async () => {
      writeFileSync(join(room.path, 'before'), Buffer.alloc(20 * MIB, 1));
      const sandbox = await room.started(
        `${WAIT}; fill() { head -c 6000000 /dev/zero > $1; }; fill one
        (wait_for further; fill two; fill three) & for each in a b c d; do ${hole('$each', 8 * MIB)}; done`,
        { limits: { diskBytes: 9 * MIB } },
      );
      await until(() => (sandbox.diskUse?.bytes ?? 0) > 25 * MIB, 40_000);
      expect(sandbox.diskUse?.bytes).toBeLessThan(29 * MIB);
      expect(statSync(join(room.path, 'd')).size).toBeGreaterThan(8 * MIB);
      touch('further');
      const { exitCode, overDisk } = await sandbox.exited;
      expect(exitCode).not.toBe(0);
      expect(overDisk?.bound.bytes).toBeGreaterThanOrEqual(29 * MIB);
      expect(overDisk?.use.bytes).toBeGreaterThan(overDisk?.bound.bytes ?? Infinity);
    }, 60_000);

    it('holds no more entries than allowed, empty ones and links too', async () => {
      const flood = 'for i in $(seq 120); do : > f$i; ln f$i l$i; ln -s / s$i; mkdir d$i; done; sleep 1000';
      const { exit } = await room.run(flood, { limits: { diskBytes: 64 * MIB, diskEntries: 400 } });
      const { overDisk } = exit;
      expect(overDisk?.use.entries).toBeGreaterThan(overDisk?.bound.entries ?? Infinity);
      expect(overDisk?.bound.bytes).toBeGreaterThan(overDisk?.use.bytes ?? Infinity);
    }, 60_000);

    it('gets no single file that is larger than all may be, not even for a moment', async () => {
      const { said } = await room.run(
        `head -c 9000000 /dev/zero > big; echo $?; (${hole('hole', 2 * MIB * MIB)}) || echo refused
        ulimit -f unlimited 2>/dev/null || echo kept`,
        { limits: { diskBytes: 4 * MIB } },
      );
      expect(said).toMatch(/^[1-9]\d*\nrefused\nkept\n$/);
      expect(statSync(join(room.path, 'big')).size).toBe(4 * MIB);
      expect(statSync(join(room.path, 'hole')).size).toBe(0);
    });

    it('counts what has no name any more, and is still open', async () => {
      const hide = (fd: number): string => `exec ${String(fd)}> f; head -c 3000000 /dev/zero >&${String(fd)}; rm f`;
      const script = [...[3, 4, 5].map(hide), 'sleep 1000'].join('; ');
      // At no moment more than 3 MB of it have a name.
      const { exit } = await room.run(script, { limits: { diskBytes: 5 * MIB } });
      expect(exit.overDisk?.use.bytes).toBeGreaterThan(exit.overDisk?.bound.bytes ?? Infinity);
    }, 60_000);
  });
}
