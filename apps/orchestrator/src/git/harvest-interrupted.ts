import { WireFault } from '@capstan/protocol';
import type { SandboxExit } from '@capstan/sandbox';
import { GitFault } from './safe-git.js';

/** The harvest was ended from outside: too slow, out of memory, killed. A later one may come to its end. */
export class HarvestInterrupted extends WireFault {
  constructor(detail: string, options?: ErrorOptions) {
    super('harvest-refused', detail, options);
  }
}

/** A shell says 128 and the signal's number where a program was killed; git's own last word is 128, of its usage 129. */
const KILLED_FROM = 130;

/** Whether a process was ended, rather than ending. */
export function isInterruption({ exitCode, signal }: SandboxExit): boolean {
  return signal !== null || exitCode === null || exitCode >= KILLED_FROM;
}

/** Whether what was wrong with a pack can be that its end did not come, and is no judgement of what is in it. */
export function isCutOff(cause: unknown): boolean {
  if (!(cause instanceof WireFault)) return true;
  if (cause.cause instanceof GitFault) {
    const { reason, exitCode, stderr } = cause.cause;
    return reason === 'timeout' || exitCode === null || /early EOF|premature end|unexpected end/i.test(stderr);
  }
  return cause.detail === 'no tree was named';
}
