import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

/** The removal of one safety check, and the tests that must notice. */
export interface Mutant {
  /** Names the check that is gone, e.g. "verify-audience". */
  id: string;
  /** Source file, relative to the workspace. */
  file: string;
  /** Exact text that stands in the file once. */
  find: string;
  replace: string;
  /** Jest path pattern of the tests, one of which must turn red. */
  tests: string;
}

/** Reads test/mutants/mutants.yaml. @throws Error where an entry lacks a field or an id stands twice */
export function readMutants(file: string): Mutant[] {
  const mutants = parse(readFileSync(file, 'utf8')) as Mutant[];
  const seen = new Set<string>();
  for (const mutant of mutants) {
    const missing = (['id', 'file', 'find', 'replace', 'tests'] as const).filter(
      (key) => typeof mutant[key] !== 'string',
    );
    if (missing.length > 0) throw new Error(`${file}: ${JSON.stringify(mutant)} lacks ${missing.join(', ')}`);
    if (seen.has(mutant.id)) throw new Error(`${file}: ${mutant.id} stands twice`);
    seen.add(mutant.id);
  }
  return mutants;
}

export interface Mutation {
  original: string;
  mutated: string;
}

/** The source with and without the check. @throws Error unless `find` stands in the file exactly once */
export function mutate(root: string, mutant: Mutant): Mutation {
  const original = readFileSync(join(root, mutant.file), 'utf8');
  const count = original.split(mutant.find).length - 1;
  if (count !== 1) throw new Error(`${mutant.id}: its text stands ${String(count)} times in ${mutant.file}`);
  return { original, mutated: original.replace(mutant.find, () => mutant.replace) };
}
