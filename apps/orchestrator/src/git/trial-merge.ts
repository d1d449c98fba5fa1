import type { BareRepository } from './bare-repository.js';
import { readConflict, type ConflictFile } from './conflict-file.js';
import { objectId } from './refs.js';
import { sizeFault } from './size-fault.js';

const TIMEOUT_MS = 120_000;
/** Files of a conflict that are looked into. */
const MOST_FILES = 20;
const LONGEST_MESSAGE = 300;

export type TrialMerge =
  | { kind: 'clean'; tree: string }
  | { kind: 'unrelated' }
  | {
      kind: 'conflict';
      /** Both sides together; git's marks stand where they do not fit. */
      tree: string;
      files: ConflictFile[];
      /** Files that are not named. */
      more: number;
    };

/**
 * Merges two commits without a work tree or a ref: objects are added to the repository, nothing else changes. Filters and
 * merge programs that an attributes file may name are not configured here, so that none can run.
 *
 * @throws GitFault; {WireFault} `repository-too-large`
 */
export async function trialMerge(repository: BareRepository, ours: string, theirs: string): Promise<TrialMerge> {
  if (!(await hasCommonPast(repository, ours, theirs))) return { kind: 'unrelated' };
  const output = await repository
    .git(
      [
        '-c',
        'merge.renameLimit=2000',
        'merge-tree',
        '--write-tree',
        '-z',
        '--name-only',
        '--messages',
        objectId(ours),
        objectId(theirs),
      ],
      { exitCodes: [0, 1], timeoutMs: TIMEOUT_MS },
    )
    .catch((error: unknown) => {
      throw sizeFault(error) ?? error;
    });
  const fields = fieldsOf(output);
  const tree = objectId((fields[0] ?? Buffer.alloc(0)).toString('latin1'));
  const end = fields.findIndex((field, index) => index > 0 && field.length === 0);
  const paths = fields.slice(1, end < 0 ? undefined : end);
  if (paths.length === 0) return { kind: 'clean', tree };
  const said = messagesOf(fields.slice(end + 1));
  const files: ConflictFile[] = [];
  for (const path of paths.slice(0, MOST_FILES)) files.push(await readConflict(repository, tree, path, said));
  return { kind: 'conflict', tree, files, more: paths.length - files.length };
}

async function hasCommonPast(repository: BareRepository, one: string, other: string): Promise<boolean> {
  const base = await repository.git(['merge-base', objectId(one), objectId(other)], { exitCodes: [0, 1] });
  return base.length > 0;
}

/** Whether a commit is an earlier one of another, or the same. @throws GitFault */
export async function isAncestor(repository: BareRepository, earlier: string, later: string): Promise<boolean> {
  const list = ['rev-list', '--max-count=1', objectId(earlier), `^${objectId(later)}`];
  return (await repository.gitText(list)) === '';
}

function fieldsOf(output: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  for (let at = 0; at < output.length;) {
    const end = output.indexOf(0, at);
    fields.push(output.subarray(at, end < 0 ? output.length : end));
    at = end < 0 ? output.length : end + 1;
  }
  return fields;
}

/** After the paths: for each message the number of its paths, the paths, its kind, its text. */
function messagesOf(fields: readonly Buffer[]): { path: string; text: string }[] {
  const messages: { path: string; text: string }[] = [];
  for (let at = 0; at < fields.length;) {
    const count = Number(fields[at]?.toString('latin1'));
    if (!Number.isSafeInteger(count)) break;
    const kind = fields[at + count + 1]?.toString('utf8') ?? '';
    const text = (fields[at + count + 2]?.toString('utf8') ?? '').trim().slice(0, LONGEST_MESSAGE);
    if (kind.startsWith('CONFLICT')) {
      for (const path of fields.slice(at + 1, at + 1 + count)) messages.push({ path: path.toString('latin1'), text });
    }
    at += count + 3;
  }
  return messages;
}
