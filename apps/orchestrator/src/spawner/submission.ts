/** What an agent says of its work. */
export interface Submission {
  /** What it did, in its own words. */
  summary: string;
  /** Commit of the source whose content it has taken into its files. */
  onto?: string;
  /** How the commit stands on that one; `rebase` unless told. */
  by?: 'rebase' | 'merge';
}

/** On which commit of the source the work stands by now; empty where it is on the one that the agent was given. */
export type Stand = Pick<Submission, 'onto' | 'by'>;

/** Why work was sent back. */
export interface SentBack {
  code: string;
  /** For people. */
  sentence: string;
}

export function standOf({ onto, by }: Submission): Stand {
  return { ...(onto === undefined ? {} : { onto }), ...(by === undefined ? {} : { by }) };
}

const COMMIT = /^[0-9a-f]{40}$/;

/** Reads what an agent sends. @throws Error that says what is wrong */
export function parseSubmission(text: string): Submission {
  const value = JSON.parse(text) as unknown;
  if (typeof value !== 'object' || value === null) throw new Error('a submission is an object');
  const { summary, onto, by } = value as Record<string, unknown>;
  if (typeof summary !== 'string' || summary.trim() === '') throw new Error('summary: must be text');
  if (onto !== undefined && (typeof onto !== 'string' || !COMMIT.test(onto)))
    throw new Error('onto: must be the whole id of the commit that you were told');
  if (by !== undefined && by !== 'rebase' && by !== 'merge') throw new Error('by: must be rebase or merge');
  return { summary, ...(onto === undefined ? {} : { onto }), ...(by === undefined ? {} : { by }) };
}
