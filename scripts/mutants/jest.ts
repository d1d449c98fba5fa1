import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** How a run of the named tests ended. */
export type Verdict =
  | { kind: 'red'; test: string }
  | { kind: 'green'; tests: number }
  /** Nothing was decided: no test ran, a file did not load, or the run took too long. */
  | { kind: 'undecided'; why: string };

interface JestReport {
  numPassedTests: number;
  numRuntimeErrorTestSuites: number;
  testResults: { message: string; assertionResults: { status: string; fullName: string }[] }[];
}

/**
 * Runs the tests whose path matches one of the patterns, in `root`.
 *
 * @param signal ends the run, with every process that its tests have started
 */
export async function runTests(root: string, patterns: string[], signal: AbortSignal): Promise<Verdict> {
  const report = join(root, 'mutant-report.json');
  rmSync(report, { force: true });
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  // Without its check a program may well hold something open: that must not hold up the verdict.
  const output = ['--json', '--outputFile', report, '--silent', '--forceExit'];
  const child = spawn(process.execPath, [jest, ...patterns, ...output], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { ...process.env, CAPSTAN_PROOFS: undefined },
  });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-2000)));
  const end = () => child.pid !== undefined && process.kill(-child.pid, 'SIGKILL');
  signal.addEventListener('abort', end);
  await once(child, 'close');
  signal.removeEventListener('abort', end);
  return signal.aborted ? { kind: 'undecided', why: 'the run took too long' } : verdictOf(report, words);
}

/** @param words the end of what jest said */
function verdictOf(file: string, words: string): Verdict {
  let report: JestReport;
  try {
    report = JSON.parse(readFileSync(file, 'utf8')) as JestReport;
  } catch {
    return { kind: 'undecided', why: `jest has left no report: ${words.trim()}` };
  }
  const failed = report.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .find((t) => t.status === 'failed');
  if (failed) return { kind: 'red', test: failed.fullName };
  const broken = report.testResults.find(
    ({ assertionResults, message }) => assertionResults.length === 0 && message !== '',
  );
  if (broken) return { kind: 'undecided', why: `a test file did not load: ${firstLine(broken.message)}` };
  return report.numPassedTests === 0
    ? { kind: 'undecided', why: 'no test ran' }
    : { kind: 'green', tests: report.numPassedTests };
}

const firstLine = (text: string): string =>
  text
    .split('\n')
    .find((line) => /error|cannot|unexpected/i.test(line))
    ?.trim() ?? '';
