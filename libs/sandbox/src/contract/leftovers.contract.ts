import { randomUUID } from 'node:crypto';
import { isGone } from '../kill/handle.js';
import type { ContractRoom } from './room.js';

/** What a process that died has left. */
export function leftoversContract(room: ContractRoom): void {
  describe('what its owner left', () => {
    it('is found and ended by the agent’s id, whether it waits for GO or runs', async () => {
      const [agentId, other] = [`left-${randomUUID()}`, `other-${randomUUID()}`];
      const waiting = await room.prepare('true', { agentId });
      const running = await room.started('trap "" TERM', { agentId });
      const others = await room.prepare('true', { agentId: other });
      const canBeFound = waiting.handle.cgroup !== '';
      const agents = await room.driver.agentsWithSandboxes();
      expect(agents.filter((it) => it === agentId || it === other).sort()).toEqual(canBeFound ? [agentId, other] : []);
      const found = await room.driver.removeLeftovers(agentId);
      if (!canBeFound) return;
      for (const { handle } of [waiting, running]) {
        expect(found).toContain(handle.processes.at(-1)?.pid);
        expect(isGone(handle)).toBe(true);
      }
      expect(isGone(others.handle)).toBe(false);
      expect(await room.driver.agentsWithSandboxes()).not.toContain(agentId);
      expect(await room.driver.removeLeftovers(agentId)).toEqual([]);
    });
  });
}
