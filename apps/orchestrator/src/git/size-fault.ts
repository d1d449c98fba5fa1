import { WireFault } from '@capstan/protocol';
import { GitFault } from './safe-git.js';

const TOO_LARGE = /attempting to allocate .* over limit|out of memory/i;

/** The fault of a file that git would have to hold in memory and may not, where that is what is behind an error. */
export function sizeFault(error: unknown): WireFault | undefined {
  if (!(error instanceof GitFault) || !TOO_LARGE.test(error.stderr)) return undefined;
  return new WireFault('repository-too-large', error.message, { cause: error });
}
