import { LocalFault } from '@capstan/protocol';
import { GitFault } from './safe-git.js';

const FULL = /no space left on device|disk quota exceeded|ENOSPC|EDQUOT/i;

/** The fault of a full disk, where that is what is behind an error; a later try may find room. */
export function diskFault(error: unknown): LocalFault | undefined {
  for (let each: unknown = error; each instanceof Error; each = each.cause) {
    if (each instanceof LocalFault && each.code === 'disk-full') return each;
    const text =
      each instanceof GitFault ? each.stderr : `${each.message} ${(each as NodeJS.ErrnoException).code ?? ''}`;
    if (!FULL.test(text)) continue;
    return new LocalFault('disk-full', "The instance's disk is full.", each.message, { cause: error });
  }
  return undefined;
}
