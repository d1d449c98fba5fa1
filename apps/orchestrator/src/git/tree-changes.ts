import { isUtf8 } from 'node:buffer';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { WireFault } from '@capstan/protocol';
import type { BareRepository } from './bare-repository.js';

const LINK_MODE = '160000';
const NO_OBJECT = /^0+$/;
const MOST_LIST_BYTES = 64 * 1024 * 1024;

/** One path in which two trees differ. Paths are bytes: no encoding is promised. */
export interface Change {
  path: Buffer;
  /** Whether the new side links to a commit of another repository. */
  isLink: boolean;
  before: { mode: string; id: string } | undefined;
  /** Object of the new side; undefined where the path is gone. */
  id: string | undefined;
}

/** @throws {WireFault} `harvest-refused` where there are more than `limit`. */
export async function changesOf(
  repository: BareRepository,
  base: string,
  tree: string,
  env: Record<string, string>,
  limit: number,
): Promise<Change[]> {
  const raw = await repository.git(
    ['diff-tree', '-r', '-z', '--no-renames', '--raw', '--no-ext-diff', '--end-of-options', base, tree],
    {
      env,
      maxOutputBytes: MOST_LIST_BYTES,
    },
  );
  const changes: Change[] = [];
  for (let at = 0; at < raw.length;) {
    const endOfHead = raw.indexOf(0, at);
    const endOfPath = raw.indexOf(0, endOfHead + 1);
    const [modeBefore = '', modeAfter = '', idBefore = '', idAfter = ''] = raw
      .toString('latin1', at + 1, endOfHead)
      .split(' ');
    const before = NO_OBJECT.test(idBefore) ? undefined : { mode: modeBefore, id: idBefore };
    const id = NO_OBJECT.test(idAfter) ? undefined : idAfter;
    changes.push({ path: raw.subarray(endOfHead + 1, endOfPath), isLink: modeAfter === LINK_MODE, before, id });
    if (changes.length > limit) throw new WireFault('harvest-refused', `more than ${String(limit)} changed files`);
    at = endOfPath + 1;
  }
  return changes;
}

/**
 * A pack of a few kilobytes can hold a file of many gigabytes.
 *
 * @param limit bytes of one file. @throws {WireFault} `harvest-refused`
 */
export async function checkSizes(
  repository: BareRepository,
  changes: Change[],
  env: Record<string, string>,
  limit: number,
): Promise<void> {
  const files = changes.filter(({ id, isLink }) => id !== undefined && !isLink);
  const stdin = files.map(({ id }) => `${id ?? ''}\n`).join('');
  const sizes = (await repository.gitText(['cat-file', '--batch-check=%(objectsize)'], { env, stdin })).split('\n');
  const tooLarge = files.find((_, index) => !(Number(sizes[index]) <= limit));
  if (tooLarge !== undefined)
    throw new WireFault('harvest-refused', `${quotePath(tooLarge.path)} is larger than ${String(limit)} bytes`);
}

/** The tree with the new links put back to what the base has; on objects only. */
export async function withoutNewLinks(
  repository: BareRepository,
  tree: string,
  links: Change[],
  env: Record<string, string>,
): Promise<string> {
  const objects = env['GIT_OBJECT_DIRECTORY'] ?? '';
  const withIndex = { ...env, GIT_INDEX_FILE: join(objects, 'index') };
  const missing = '0'.repeat(tree.length);
  const entries = links.map(({ path, before }) =>
    Buffer.concat([Buffer.from(`${before?.mode ?? '0'} ${before?.id ?? missing}\t`), path, Buffer.from([0])]),
  );
  await repository.git(['read-tree', tree], { env: withIndex });
  await repository.git(['update-index', '-z', '--index-info'], {
    env: withIndex,
    stdin: Readable.from([Buffer.concat(entries)]),
  });
  return repository.gitText(['write-tree'], { env: withIndex });
}

/** A path as text: as it is where it is plain, else with git's own quotes and escapes, so that no two look the same. */
export function quotePath(path: Buffer): string {
  const text = path.toString('utf8');
  if (isUtf8(path) && !/[\u0000-\u001f\u007f-\u009f"\\\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(text))
    return text;
  const escaped = Array.from(path, (byte) => {
    if (byte === 0x22 || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
    return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
  });
  return `"${escaped.join('')}"`;
}
