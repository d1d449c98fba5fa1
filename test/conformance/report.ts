import type { Outcome } from './attack.ts';

/** One line of the table, for people. */
export function lineOf({ id, does, expect, got, verdict, ms }: Outcome): string {
  const came = verdict === 'left out' ? '' : `  ${got ?? ''}`;
  const wanted = verdict === 'MISMATCH' ? `\n${' '.repeat(11)}expected ${expect.join(' or ')}: it ${does}` : '';
  return `${verdict.padEnd(9)}  ${id.padEnd(42)}${`${String(ms)} ms`.padStart(10)}${came}${wanted}`;
}

/** The last line. */
export function summaryOf(outcomes: readonly Outcome[]): string {
  const count = (verdict: Outcome['verdict']): number => outcomes.filter((each) => each.verdict === verdict).length;
  return `${String(outcomes.length)} attacks: ${String(count('held'))} held, ${String(count('MISMATCH'))} mismatches, ${String(count('left out'))} left out`;
}

/** What `--json` prints. */
export function reportOf(side: 'hub' | 'spoke', outcomes: readonly Outcome[]): Record<string, unknown> {
  const mismatches = outcomes.filter(({ verdict }) => verdict === 'MISMATCH').length;
  return { version: 1, kind: 'capstan.conformance', side, conforms: mismatches === 0, outcomes };
}
