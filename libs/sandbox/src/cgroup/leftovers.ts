import { setTimeout as delay } from 'node:timers/promises';
import { groupMembers, killGroup } from '../kill/control-group.js';
import { hasProcess, readProcess, type ProcessView } from '../kill/process.js';
import { SandboxFault } from '../sandbox-fault.js';
import { groupsOf, tryRemoveGroup, type GroupOwner } from './agent-groups.js';

const PATIENCE_MS = 5000;

/**
 * Ends and removes whatever an orchestrator that died left of one agent's sandboxes, harvests included: it finds them
 * by the names of their control groups, so that nothing need have been noted. Nothing of the agent's may be wanted any
 * more. Sandboxes without a control group are not found.
 *
 * @param whose the owner as the driver was told.
 * @returns pids that were still there.
 * @throws SandboxFault `sandbox-busy` where something outlives SIGKILL for 5 seconds
 */
export async function removeLeftovers(whose: GroupOwner): Promise<number[]> {
  const found = new Map<number, ProcessView>();
  const deadline = performance.now() + PATIENCE_MS;
  // Kill and removal together, again and again: until its group is gone a launcher may yet join it.
  for (;;) {
    const left = groupsOf(whose).filter((group) => !tryRemoveGroup(group));
    // A process leaves its group a moment before it is dead.
    const dying = [...found.values()].filter(hasProcess);
    if (left.length + dying.length === 0) return [...found.keys()];
    if (performance.now() > deadline) {
      const detail = [...left, ...dying.map(({ pid }) => pid)].join(' ');
      throw new SandboxFault('sandbox-busy', 'A sandbox that was left cannot be ended.', detail);
    }
    for (const group of left) {
      for (const pid of groupMembers(group)) {
        const view = readProcess(pid);
        if (view !== null) found.set(pid, view);
      }
      await killGroup(group);
    }
    await delay(5);
  }
}
