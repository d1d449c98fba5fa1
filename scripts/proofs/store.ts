import { existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** Where proofs are kept between runs: one line of JSON per passed `proves()`, merged into proofs.json at a run's end. */
export const PROOFS_DIRECTORY = process.env['CAPSTAN_PROOFS'] ?? 'node_modules/.cache/proofs';

export interface Proof {
  /** A row of test/requirements.yaml. */
  id: string;
  /** Full name of the test. */
  test: string;
}

/** Test file, relative to the workspace → what its passed tests prove. */
export type Proofs = Record<string, Proof[]>;

/**
 * Takes the lines that the workers of a run have left, keeps those of tests that passed, and replaces whatever earlier
 * runs have said about the same files.
 *
 * @param passed test file → full names of the tests that passed
 */
export function mergeProofs(directory: string, passed: ReadonlyMap<string, ReadonlySet<string>>): void {
  const kept = Object.entries(readProofs(directory)).filter(([file]) => !passed.has(file));
  const proofs: Proofs = Object.fromEntries(kept);
  for (const name of readdirSync(directory).filter((entry) => entry.endsWith('.jsonl'))) {
    for (const { file, id, test } of readLines(join(directory, name))) {
      if (passed.get(file)?.has(test)) (proofs[file] ??= []).push({ id, test });
    }
    rmSync(join(directory, name));
  }
  const target = join(directory, 'proofs.json');
  writeFileSync(`${target}.new`, `${JSON.stringify(proofs, null, 2)}\n`);
  renameSync(`${target}.new`, target);
}

/** The merged proofs of test files that still exist. */
export function readProofs(directory: string): Proofs {
  const file = join(directory, 'proofs.json');
  if (!existsSync(file)) return {};
  const proofs = JSON.parse(readFileSync(file, 'utf8')) as Proofs;
  return Object.fromEntries(Object.entries(proofs).filter(([test]) => existsSync(test)));
}

function readLines(file: string): (Proof & { file: string })[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Proof & { file: string })
    .map((proof) => ({ ...proof, file: relative(process.cwd(), proof.file) }));
}
