import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { isGone, waitGone, type KillHandle } from '../kill/handle.js';
import type { RunningSandbox, SandboxLimits } from '../port.js';
import type { ContractRoom } from './room.js';
import { until } from './support.js';

const LOADER = resolve(__dirname, '../../../../apps/spoke/test/from-source.mjs');
const OWNER = resolve(__dirname, '../../../../test/support/sandbox-owner.ts');

/** Says something to its first owner, to nobody, and to its second. */
const SCRIPT = `trap '' TERM
wait_for() { while ! [ -e /room/$1 ]; do sleep 0.02; done; }
echo early; wait_for alone; echo between; echo said > /room/said; wait_for adopted; echo later; echo loud >&2; exit 7`;

/**
 * What becomes of a sandbox whose owner dies after GO.
 *
 * @param outlives whether it goes on and can be adopted; else it dies with its owner. @param options of the driver
 */
export function adoptionContract(room: ContractRoom, outlives: boolean, options: () => object): void {
  /** A sandbox whose owner, a process of its own, has been killed after the agent had said its first word. */
  const orphaned = async (agentId: string, limits: SandboxLimits = {}): Promise<KillHandle> => {
    const order = { driver: room.driver.name, options: options(), spec: room.spec(SCRIPT, { agentId, limits }) };
    const owner = spawn(process.execPath, ['--import', LOADER, OWNER, JSON.stringify(order)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface(owner.stdout), 'line')) as [string];
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    return JSON.parse(line, (_, value: unknown) =>
      typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
    ) as KillHandle;
  };
  const touch = (name: string): void => writeFileSync(join(room.path, name), '');
  const adopt = async (agentId: string, handle: KillHandle): Promise<RunningSandbox> => {
    const adopted = await room.driver.adopt(agentId, handle);
    if (adopted === undefined) throw new Error('it was not adopted');
    return room.own(adopted);
  };

  describe('when its owner dies after GO', () => {
    if (!outlives) {
      it('dies with it, so that there is nothing to adopt', async () => {
        const agentId = `orphan-${randomUUID()}`;
        const handle = await orphaned(agentId);
        expect(await waitGone(handle, 15_000)).toBe(true);
        expect(await room.driver.adopt(agentId, handle)).toBeUndefined();
        await room.driver.removeLeftovers(agentId);
      }, 60_000);
      return;
    }

    it('is adopted: what it has said to nobody, what it says from there on, its end, its removal', async () => {
      const agentId = `orphan-${randomUUID()}`;
      const handle = await orphaned(agentId);
      touch('alone');
      await until(() => existsSync(join(room.path, 'said')));
      const adopted = await adopt(agentId, handle);
      expect(adopted.handle).toEqual(handle);
      await expect(adopted.dispose()).rejects.toMatchObject({ code: 'sandbox-busy' });
      touch('adopted');
      const [said, complained, exit] = await Promise.all([text(adopted.stdout), text(adopted.stderr), adopted.exited]);
      expect([said, complained, exit.exitCode]).toEqual(['between\nlater\n', 'loud\n', 7]);
      expect(await waitGone(handle, 15_000)).toBe(true);
      await adopted.dispose();
      expect(await room.driver.agentsWithSandboxes()).not.toContain(agentId);
    }, 60_000);

    it('may have no more on the disk than before', async () => {
      const agentId = `orphan-${randomUUID()}`;
      const handle = await orphaned(agentId, { diskBytes: 4 << 20 });
      for (const name of ['one', 'two']) writeFileSync(join(room.path, name), Buffer.alloc(3 << 20, 1));
      const { overDisk } = await (await adopt(agentId, handle)).exited;
      expect(overDisk?.use.bytes).toBeGreaterThan(6 << 20);
      expect(overDisk?.bound.bytes).toBeLessThan(5 << 20);
    }, 120_000);

    it('is killed and seen gone like any other', async () => {
      const agentId = `orphan-${randomUUID()}`;
      const adopted = await adopt(agentId, await orphaned(agentId));
      await room.killAndSee(adopted);
      expect((await adopted.exited).exitCode).not.toBe(0);
    }, 60_000);

    it('is not adopted under another name, nor where another process was registered', async () => {
      const agentId = `orphan-${randomUUID()}`;
      const handle = await orphaned(agentId);
      const processes = handle.processes.map(({ pid, startTicks }) => ({ pid, startTicks: startTicks - 1n }));
      expect(await room.driver.adopt(`other-${randomUUID()}`, handle)).toBeUndefined();
      expect(await room.driver.adopt(agentId, { ...handle, processes })).toBeUndefined();
      expect(await room.driver.adopt(agentId, { ...handle, bootId: 'another-boot' })).toBeUndefined();
      expect(isGone(handle)).toBe(false);
      await room.killAndSee(await adopt(agentId, handle));
    }, 60_000);
  });
}
