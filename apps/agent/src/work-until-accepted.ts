import type { Submission, SubmitAnswer } from './tools/submit-desk.js';

export interface WorkParts {
  /** Has the program work. @param again what it is told after its first work. @returns its summary */
  work: (again?: string) => Promise<string>;
  submit: (submission: Submission) => Promise<SubmitAnswer>;
  /** What the operator has written since. */
  hear: () => Promise<string[]>;
  /** How often work that was sent back goes to the program again. */
  mends: number;
  say: (text: string) => void;
}

const NO_CALL =
  'You have no submit call: what you leave when you end is submitted again. Where you were told to name a commit as onto, and its content is in your files, end your summary with the line “Onto: COMMIT”, or “Onto: COMMIT merge”; else leave it out.';
const ONTO = /^Onto: ([0-9a-f]{40})(?: (merge|rebase))?$/;

/**
 * Submits what a program leaves, and tells it why that is sent back and what the operator has written, until it is accepted.
 *
 * @returns the summary, also of work that only its end can judge; undefined where it was sent back once too often
 */
export async function workUntilAccepted({ work, submit, hear, mends, say }: WorkParts): Promise<string | undefined> {
  const named = new Set<string>();
  let said = await work();
  for (let mended = 0; ;) {
    const unheard = await hear();
    if (unheard.length > 0) {
      said = await work(unheard.join('\n\n'));
      continue;
    }
    const submission = submissionOf(said, named);
    const answer = await submit(submission);
    if (answer.accepted || !answer.mendable) return submission.summary;
    if (answer.onto !== undefined) named.add(answer.onto);
    const words = await hear();
    say(`The work was sent back: ${answer.text}`);
    if (words.length === 0 && mended === mends) return undefined;
    if (words.length === 0) mended += 1;
    // Never in one turn: an answer may quote what others have pushed. It comes again where it still holds.
    said = await work(
      words.length > 0 ? words.join('\n\n') : [`The work was sent back: ${answer.text}`, NO_CALL].join('\n\n'),
    );
  }
}

/** A program names the commit in its very last line, having no other way. @param named those that it was told of */
function submissionOf(said: string, named: ReadonlySet<string>): Submission {
  const lines = said.trimEnd().split('\n');
  const [, onto, by] = ONTO.exec(lines.at(-1)?.trim() ?? '') ?? [];
  if (onto === undefined || !named.has(onto)) return { summary: said };
  const summary = lines.slice(0, -1).join('\n').trim() || 'Work that was brought up to date';
  return { summary, onto, ...(by === undefined ? {} : { by }) };
}
