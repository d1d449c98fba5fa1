import type { FaultCode } from '@capstan/protocol';
import type { ConflictFile, WorkStand } from '../git/index.js';
import { sentenceOf, type SecretFinding } from '../secret-scan/index.js';

/** The work was not let through; the agent can mend it and submit again. */
export class WorkRefused extends Error {
  override readonly name = 'WorkRefused';

  /**
   * @param code a fault's, or a gate's own
   * @param sentence for people and receipts
   * @param advice for the agent alone: the whole of what it can know and do
   */
  constructor(
    readonly code: FaultCode | (string & {}),
    readonly sentence: string,
    readonly advice: string = sentence,
  ) {
    super(`${code}: ${sentence}`);
  }
}

const MOST_NAMED = 5;
const LONGEST_ADVICE = 24_000;

export function secretsRefused(findings: readonly SecretFinding[]): WorkRefused {
  const sentence = sentenceOf(findings);
  const advice = `${sentence} Take them out of the named places (in encoded form too), and submit again.`;
  return new WorkRefused('secret-found', sentence, advice);
}

/** @param tree as the agent has it. */
export function conflictRefused(stand: WorkStand & { kind: 'conflict' }, tree: string): WorkRefused {
  const { merge, onto } = stand;
  if (merge.kind === 'unrelated') {
    const sentence = `The work has no common history with what ${stand.with} holds now.`;
    return new WorkRefused('merge-conflict', sentence);
  }
  const { files, more } = merge;
  const named = files.slice(0, MOST_NAMED).map(({ path }) => path);
  const left = files.length - named.length + more;
  const rest = left > 0 ? ` and ${String(left)} more` : '';
  const sentence = `The work does not fit what was pushed to ${stand.with} since the agent began: ${named.join(', ')}${rest}.`;
  const steps = [
    sentence,
    `Bring both sides into your files with: git diff --binary ${tree} ${merge.tree} | git apply`,
    'Then mend each place between <<<<<<< (yours) and >>>>>>> (theirs), take the marks out,',
    `and submit again with onto: "${onto}" (and by: "merge" to keep both histories; default "rebase").`,
  ];
  return new WorkRefused(
    'merge-conflict',
    sentence,
    [...steps, ...files.map(described)].join('\n').slice(0, LONGEST_ADVICE),
  );
}

function described({ path, about, hunks }: ConflictFile): string {
  return [
    `\n${path}${about === '' ? '' : `: ${about}`}`,
    ...hunks.map(({ line, text }) => `line ${String(line)}:\n${text}`),
  ].join('\n');
}
