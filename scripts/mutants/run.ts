/**
 * `npm run mutants [-- ID…]`: takes each safety check of test/mutants/mutants.yaml away in turn, in a copy of the tree, and
 * demands that one of the named tests turns red. Fails where a mutant survives, cannot be decided, or no longer applies.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runTests, type Verdict } from './jest.ts';
import { mutate, type Mutant, type Mutation, readMutants } from './manifest.ts';
import { WorkingCopy } from './working-copy.ts';

const TIMEOUT_MS = 120_000;
const root = join(import.meta.dirname, '../..');
const only = process.argv.slice(2);
const all = readMutants(join(root, 'test/mutants/mutants.yaml'));
const mutants = all.filter(({ id }) => only.length === 0 || only.includes(id));
const strangers = only.filter((id) => !all.some((mutant) => mutant.id === id));
const faults = strangers.map((id) => `no mutant is called ${id}`);

using copy = new WorkingCopy(root);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort());
const within = (ms: number) => AbortSignal.any([interrupted.signal, AbortSignal.timeout(ms)]);

const patterns = [...new Set(mutants.map(({ tests }) => tests))];
console.log(`${String(mutants.length)} mutants; first the tests without any …`);
const baseline = await runTests(copy.root, patterns, within(2 * TIMEOUT_MS));
if (baseline.kind !== 'green') faults.push(`the tests are not green without a mutant: ${describe(baseline)}`);
for (const mutant of baseline.kind === 'green' ? mutants : []) {
  if (interrupted.signal.aborted) break;
  const started = Date.now();
  const line = await tryOut(mutant);
  console.log(`${mutant.id.padEnd(28)} ${((Date.now() - started) / 1000).toFixed(1).padStart(5)} s  ${line}`);
}
if (interrupted.signal.aborted) faults.push('interrupted');

console.log(`\n${String(mutants.length)} mutants, ${String(faults.length)} faults`);
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exitCode = 1;

/** Runs the mutant's tests against its source; anything but red is a fault. */
async function tryOut(mutant: Mutant): Promise<string> {
  let mutation: Mutation;
  try {
    mutation = mutate(copy.root, mutant);
  } catch (error) {
    faults.push((error as Error).message);
    return 'does not apply';
  }
  writeFileSync(join(copy.root, mutant.file), mutation.mutated);
  const verdict = await runTests(copy.root, [mutant.tests], within(TIMEOUT_MS));
  writeFileSync(join(copy.root, mutant.file), mutation.original);
  if (verdict.kind !== 'red') faults.push(`${mutant.id}: ${describe(verdict)}`);
  return describe(verdict);
}

function describe(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'red':
      return `noticed by “${verdict.test}”`;
    case 'green':
      return `SURVIVED ${String(verdict.tests)} tests`;
    case 'undecided':
      return `UNDECIDED: ${verdict.why}`;
  }
}
