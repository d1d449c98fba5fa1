import { bootTimeMs, type RunningSandbox } from '@capstan/sandbox';
import type { Claim } from '../valkey/agent.store.js';

/** Linux tells the start of a process in ticks of 1/100 s since the boot, see proc_pid_stat(5). */
const TICK_MS = 10;

/**
 * Of its wall-clock limit, milliseconds; one that was adopted has used up some of it: since its first process began, whatever
 * has become of the clock meanwhile.
 *
 * @throws Error where the time since the boot cannot be read
 */
export function timeLeft({ agent, plan }: Claim, { handle }: Pick<RunningSandbox, 'handle'>): number {
  if (agent.startedAt === null) return plan.timeoutMs;
  const [first] = handle.processes;
  const usedMs = first === undefined ? 0 : bootTimeMs() - Number(first.startTicks) * TICK_MS;
  return Math.max(0, plan.timeoutMs - Math.max(0, usedMs));
}
