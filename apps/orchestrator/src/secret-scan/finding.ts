/** A secret that is about to be committed; it says where, and never what. */
export interface SecretFinding {
  /** Path as git quotes it, or which other text of the commit. */
  where: string;
  /** First line of it, from 1. */
  line: number;
  /** Rule of ours, of secretlint, or `issued-secret`. */
  rule: string;
}

/** Rule of what the instance itself has given to the agent, or holds; no allow list excuses it. */
export const ISSUED_RULE = 'issued-secret';
/** Findings that are named. */
const MOST_NAMED = 20;

/** One sentence for the agent and for people. */
export function sentenceOf(findings: readonly SecretFinding[]): string {
  const named = findings.slice(0, MOST_NAMED).map(({ where, line, rule }) => `${where} line ${String(line)} (${rule})`);
  const more = findings.length - named.length;
  const rest = more > 0 ? `, and ${String(more)} more` : '';
  return `The work holds what looks like a secret, and was not committed: ${named.join(', ')}${rest}.`;
}
