import { isUtf8 } from 'node:buffer';
import type { BareRepository } from './bare-repository.js';
import { quotePath } from './tree-changes.js';

const MOST_BYTES = 1024 * 1024;
const MOST_HUNKS = 10;
const MOST_LINES = 40;
const LONGEST_LINE = 200;

/** One place at which two sides do not fit. */
export interface ConflictHunk {
  /** Line of its first mark in the merged file, from 1. */
  line: number;
  /** Both sides between git's marks; cut where it is long. */
  text: string;
}

export interface ConflictFile {
  /** As git quotes it. */
  path: string;
  /** What git says of it, e.g. that one side deleted it. */
  about: string;
  /** Empty where it is binary, too large, or gone on one side. */
  hunks: ConflictHunk[];
}

/** What does not fit in one file of a merged tree. @throws GitFault */
export async function readConflict(
  repository: BareRepository,
  tree: string,
  path: Buffer,
  messages: readonly { path: string; text: string }[],
): Promise<ConflictFile> {
  const about = messages.find((message) => message.path === path.toString('latin1'))?.text ?? '';
  return { path: quotePath(path), about, hunks: hunksOf(await blobAt(repository, tree, path)) };
}

/** undefined where there is no file of a fitting size. */
async function blobAt(repository: BareRepository, tree: string, path: Buffer): Promise<Buffer | undefined> {
  // A path is bytes and cannot be an argument; `--batch` takes a name as it is, up to its line end.
  if (path.includes(10)) return undefined;
  const stdin = `${tree}:${path.toString('latin1')}\n`;
  if (!isUtf8(path)) return undefined;
  const name = Buffer.from(stdin, 'latin1').toString('utf8');
  const head = await repository.gitText(['cat-file', '--batch-check=%(objecttype) %(objectsize) %(objectname)'], {
    stdin: name,
  });
  const [type, size, id = ''] = head.split(' ');
  if (type !== 'blob' || !(Number(size) <= MOST_BYTES)) return undefined;
  return repository.git(['cat-file', 'blob', id]);
}

/** The parts of a merged file between git's marks. */
export function hunksOf(content: Buffer | undefined): ConflictHunk[] {
  if (content === undefined || content.includes(0)) return [];
  const lines = content.toString('utf8').split('\n');
  const hunks: ConflictHunk[] = [];
  for (let at = 0; at < lines.length && hunks.length < MOST_HUNKS; at += 1) {
    if (!(lines[at] ?? '').startsWith('<<<<<<< ')) continue;
    let end = at + 1;
    while (end < lines.length && !(lines[end] ?? '').startsWith('>>>>>>> ')) end += 1;
    hunks.push({ line: at + 1, text: shortened(lines.slice(at, end + 1)) });
    at = end;
  }
  return hunks;
}

function shortened(lines: readonly string[]): string {
  const shown = lines.slice(0, MOST_LINES).map((line) => line.slice(0, LONGEST_LINE));
  const left = lines.length - shown.length;
  return [...shown, ...(left > 0 ? [`[${String(left)} more lines]`] : [])].join('\n');
}
