import { mkdirSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { AggregatedResult, TestContext } from '@jest/reporters';
import { reasonOf, type SkippedTest } from './skips.ts';
import { PROOFS_DIRECTORY, mergeProofs } from './store.ts';

/**
 * Jest reporter: keeps the proofs of the tests that passed (a test whose afterEach fails has proven nothing), names in CI
 * those that were skipped, which fails the run where nothing excuses it, and ends with one plain line for people and scripts,
 * `N passed, N failed` (and `, N skipped` where some were), below what `npm test` has left out for want of a part of the
 * system.
 */
export default class ProofsReporter {
  private fault: Error | undefined;
  /** Whoever asks for tests by their names wants no others. */
  private readonly judgesSkips: boolean;

  constructor({ testNamePattern }: { testNamePattern?: unknown } = {}) {
    this.judgesSkips = (process.env['CI'] ?? '') !== '' && (testNamePattern ?? '') === '';
    // Before any worker is forked, so that every `proves()` of this run writes to the same place.
    process.env['CAPSTAN_PROOFS'] = resolve(PROOFS_DIRECTORY);
    mkdirSync(PROOFS_DIRECTORY, { recursive: true });
  }

  onRunComplete(_contexts: ReadonlySet<TestContext>, results: AggregatedResult): void {
    const passed = new Map<string, Set<string>>();
    const skipped: SkippedTest[] = [];
    for (const { testFilePath, testResults } of results.testResults) {
      const file = relative(process.cwd(), testFilePath);
      const names = testResults.filter(({ status }) => status === 'passed').map(({ fullName }) => fullName);
      passed.set(file, new Set(names));
      const others = testResults.filter(({ status }) => status !== 'passed' && status !== 'failed');
      skipped.push(...others.map(({ fullName }) => ({ file, fullName })));
    }
    mergeProofs(PROOFS_DIRECTORY, passed);
    if (this.judgesSkips) this.judge(skipped);
    // A file that does not even load holds tests that did not run: it counts as one failure.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const leftOut = process.env['CAPSTAN_SKIPPED'];
    if (leftOut !== undefined) process.stdout.write(`${leftOut}\n`);
    const skips = skipped.length > 0 ? `, ${String(skipped.length)} skipped` : '';
    const line = `${String(results.numPassedTests)} passed, ${String(failed)} failed${skips}\n`;
    // Jest's own summary comes after the last reporter; this line comes after that.
    process.once('exit', () => process.stdout.write(line));
  }

  /** Jest asks after the run; an answer fails it. */
  getLastError(): Error | undefined {
    return this.fault;
  }

  private judge(skipped: readonly SkippedTest[]): void {
    for (const test of skipped) {
      const lacks = reasonOf(test);
      const why = lacks === undefined ? 'which fails the run: see scripts/proofs/skips.ts' : `for want of ${lacks}`;
      process.stdout.write(`Skipped, ${why}: ${test.file} “${test.fullName}”\n`);
      if (lacks === undefined) this.fault = new Error('tests were skipped');
    }
  }
}
