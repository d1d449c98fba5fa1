import { deadlyRules } from './deaths.ts';
import { effectRules } from './effects.ts';
import type { History, Violation } from './history.ts';
import { outcomeRules } from './outcomes.ts';

/** Reads a history to its end. @returns every promise that it breaks; none where all is well */
export function check(history: History): Violation[] {
  return [...outcomeRules(history), ...effectRules(history), ...deadlyRules(history), ...recordRules(history)];
}

/** Chains verify, and nothing is left running. */
function recordRules({ chainFault, instances, living }: History): Violation[] {
  const faults: Violation[] = living.map(({ agentId, pid }) => ({
    rule: 'left-running',
    subject: agentId,
    sentence: `process ${String(pid)} lives at the end`,
  }));
  if (chainFault !== undefined) faults.push({ rule: 'audit-broken', subject: 'hub', sentence: chainFault });
  for (const { id, logFault } of instances) {
    if (logFault !== undefined) faults.push({ rule: 'audit-broken', subject: id, sentence: logFault });
  }
  return faults;
}
