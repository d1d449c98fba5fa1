import type { Schedule } from './schedule.ts';

/**
 * Leaves out fault after fault, as long as what is left still fails.
 *
 * @param fails runs a schedule; chance has its part in every run, so that a smaller schedule that passes proves little
 * @param mayGoOn asked before each try
 */
export async function shrink(
  schedule: Schedule,
  fails: (candidate: Schedule) => Promise<boolean>,
  mayGoOn: () => boolean = () => true,
): Promise<Schedule> {
  let smallest = schedule;
  for (const fault of schedule.faults) {
    if (smallest.faults.length < 2 || !mayGoOn()) return smallest;
    const candidate = { ...smallest, faults: smallest.faults.filter((other) => other !== fault) };
    if (await fails(candidate)) smallest = candidate;
  }
  return smallest;
}
