import { quotePath, type BareRepository, type Change } from '../git/index.js';

/** A file that is about to be committed. */
export interface NewContent {
  path: Buffer;
  /** Path as people are shown it. */
  where: string;
  id: string;
  size: number;
  /** What stood at the path before. */
  before: string | undefined;
}

/** Bytes that are read from the repository at once. */
const BATCH_BYTES = 8 * 1024 * 1024;
const HEAD_ROOM = 200;

/** Files, symbolic links included, that the tree has and the commit before has not. @throws GitFault */
export async function newContents(repository: BareRepository, changes: readonly Change[]): Promise<NewContent[]> {
  const files = changes.filter(({ id, isLink }) => id !== undefined && !isLink);
  if (files.length === 0) return [];
  const stdin = files.map(({ id }) => `${id ?? ''}\n`).join('');
  const sizes = (await repository.gitText(['cat-file', '--batch-check=%(objectsize)'], { stdin })).split('\n');
  return files.map(({ path, id = '', before }, index) => {
    const size = Number(sizes[index]);
    if (!Number.isSafeInteger(size)) throw new Error(`the size of ${id} is unknown`);
    return { path, where: quotePath(path), id, size, before: before?.mode === '160000' ? undefined : before?.id };
  });
}

/** In groups that fit into memory; a file larger than a group is one alone. */
export function* batches<T extends { size: number }>(files: readonly T[]): Generator<T[]> {
  let batch: T[] = [];
  let bytes = 0;
  for (const file of files) {
    if (batch.length > 0 && bytes + file.size > BATCH_BYTES) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(file);
    bytes += file.size;
  }
  if (batch.length > 0) yield batch;
}

/** Contents of blobs, in order. @throws GitFault; Error where one is missing */
export async function readBlobs(
  repository: BareRepository,
  blobs: readonly { id: string; size: number }[],
): Promise<Buffer[]> {
  const stdin = blobs.map(({ id }) => `${id}\n`).join('');
  const maxOutputBytes = blobs.reduce((sum, { size }) => sum + size + HEAD_ROOM, 0);
  const output = await repository.git(['cat-file', '--batch'], { stdin, maxOutputBytes });
  let at = 0;
  return blobs.map(({ id }) => {
    const end = output.indexOf(10, at);
    const head = new RegExp(`^${id} blob (\\d+)$`).exec(output.toString('latin1', at, end));
    if (end < 0 || head === null) throw new Error(`${id} cannot be read`);
    const content = output.subarray(end + 1, end + 1 + Number(head[1]));
    at = end + 1 + content.length + 1;
    return content;
  });
}
