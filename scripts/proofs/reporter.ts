import { mkdirSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { AggregatedResult, TestContext } from '@jest/reporters';
import { PROOFS_DIRECTORY, mergeProofs } from './store.ts';

/**
 * Jest reporter: keeps the proofs of the tests that passed (a test whose afterEach fails has proven nothing), and ends
 * with one plain line for people and scripts, `N passed, N failed` (and `, N skipped` where some were), below what
 * `npm test` has left out for want of a part of the system.
 */
export default class ProofsReporter {
  constructor() {
    // Before any worker is forked, so that every `proves()` of this run writes to the same place.
    process.env['CAPSTAN_PROOFS'] = resolve(PROOFS_DIRECTORY);
    mkdirSync(PROOFS_DIRECTORY, { recursive: true });
  }

  onRunComplete(_contexts: ReadonlySet<TestContext>, results: AggregatedResult): void {
    const passed = new Map<string, Set<string>>();
    for (const { testFilePath, testResults } of results.testResults) {
      const names = testResults.filter(({ status }) => status === 'passed').map(({ fullName }) => fullName);
      passed.set(relative(process.cwd(), testFilePath), new Set(names));
    }
    mergeProofs(PROOFS_DIRECTORY, passed);
    // A file that does not even load holds tests that did not run: it counts as one failure.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    const leftOut = process.env['CAPSTAN_SKIPPED'];
    if (leftOut !== undefined) process.stdout.write(`${leftOut}\n`);
    const skips = skipped > 0 ? `, ${String(skipped)} skipped` : '';
    const line = `${String(results.numPassedTests)} passed, ${String(failed)} failed${skips}\n`;
    // Jest's own summary comes after the last reporter; this line comes after that.
    process.once('exit', () => process.stdout.write(line));
  }
}
