import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { members } from '../kill/handle.js';
import { resourceUse, type ResourceUse } from '../usage/resource-use.js';
import type { ContractRoom } from './room.js';
import { until } from './support.js';

const HELD_BYTES = 40_000_000;
const SCRIPT = `head -c ${String(HELD_BYTES)} /dev/zero > /tmp/held
(while ! [ -e /room/enough ]; do :; done; rm /tmp/held; echo > /room/let-go; sleep 1000) &`;

/** What is seen of what an agent uses, by control groups with a limit of memory. */
export function usageContract(room: ContractRoom): void {
  describe('its use', () => {
    it('is seen: processor time, processes, and memory with the files that lie in it, as it comes and goes', async () => {
      const sandbox = await room.started(SCRIPT, { limits: { memoryBytes: 256 << 20 } });
      const use = (): ResourceUse => {
        const seen = resourceUse(sandbox.handle);
        if (seen === undefined) throw new Error('nothing of it is seen');
        return seen;
      };
      await until(() => use().cpuMs > 300);
      const busy = use();
      // Of which no process holds any.
      expect(busy.memoryBytes).toBeGreaterThan(HELD_BYTES);
      expect(busy.memoryBytes).toBeLessThan(256 << 20);
      expect(busy.processes).toBe(members(sandbox.handle).length);
      writeFileSync(join(room.path, 'enough'), '');
      await until(() => existsSync(join(room.path, 'let-go')));
      await until(() => use().memoryBytes < busy.memoryBytes - HELD_BYTES / 2);
      await room.killAndSee(sandbox);
      expect(resourceUse(sandbox.handle)).toBeUndefined();
    });
  });
}
