import { WireFault } from '@capstan/protocol';
import { withinTime } from '../killswitch/within-time.js';

const ANSWER_MS = 5_000;
const LATE = Symbol('late');

/** What Valkey answers, if it does so in time. @throws {WireFault} `queue-unavailable` */
export async function inTime<T>(promise: Promise<T>): Promise<T> {
  // Commands wait for a Valkey that is away; nobody is there to hear when they fail later.
  promise.catch(() => undefined);
  const value = await withinTime(ANSWER_MS, promise, LATE);
  if (value === LATE) throw new WireFault('queue-unavailable');
  return value;
}
