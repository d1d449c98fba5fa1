import { statfs } from 'node:fs/promises';
import { LocalFault } from '@capstan/protocol';
import { GitFault } from './safe-git.js';

const FULL = /no space left on device|disk quota exceeded|ENOSPC|EDQUOT/i;
/** Bytes; git needs more than that for anything. */
const NO_ROOM = 64 * 1024;

/** The fault of a full disk, where that is what is behind an error; a later try may find room. */
export function diskFault(error: unknown): LocalFault | undefined {
  for (let each: unknown = error; Error.isError(each); each = each.cause) {
    if (each instanceof LocalFault && each.code === 'disk-full') return each;
    const text =
      each instanceof GitFault ? each.stderr : `${each.message} ${(each as NodeJS.ErrnoException).code ?? ''}`;
    if (FULL.test(text)) return faultOf(each.message, error);
  }
  return undefined;
}

/**
 * As `diskFault`, and also where the error does not say it but one of the places that were written to is full: git often says
 * only that it could not write. To be asked before anything is removed there.
 */
export async function diskFaultAt(error: unknown, ...places: string[]): Promise<LocalFault | undefined> {
  const told = diskFault(error);
  if (told !== undefined) return told;
  for (const place of places) if (await isFull(place)) return faultOf(`${place}: ${String(error)}`, error);
  return undefined;
}

const faultOf = (detail: string, cause: unknown): LocalFault =>
  new LocalFault('disk-full', "The instance's disk is full.", detail, { cause });

async function isFull(place: string): Promise<boolean> {
  const stats = await statfs(place).catch(() => undefined);
  if (stats === undefined) return false;
  // Some file systems count no inodes.
  return stats.bavail * stats.bsize < NO_ROOM || (stats.files > 0 && stats.ffree === 0);
}
