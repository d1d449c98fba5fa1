/** Cruises the tree for forbidden imports, then proves with test/boundaries/planted that each rule still bites. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { ICruiseResult } from 'dependency-cruiser';
import { eagerPath } from './eager.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const config = join(root, '.dependency-cruiser.cjs');
/** The CLI starts quickly: nothing that it loads at once may load this. */
const LOCALMESH = 'libs/localmesh/src/index.ts';
const planted = join(import.meta.dirname, 'planted');

async function cruise(directory: string, rooms: string[]): Promise<ICruiseResult> {
  const binary = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const { stdout } = await run(process.execPath, [binary, '--config', config, '--output-type', 'json', ...rooms], {
    cwd: directory,
    maxBuffer: 256 * 1024 * 1024,
  });
  return JSON.parse(stdout) as ICruiseResult;
}

/** Sentences about the tree's forbidden imports, and about rules that look at nothing. */
async function faultsOfTree(): Promise<string[]> {
  const result = await cruise(root, ['apps', 'libs', 'test', 'scripts']);
  const toIndex = result.modules
    .flatMap((module) => module.dependencies)
    .filter((dependency) => /^libs\/[a-z]+\/src\/index\.ts$/.test(dependency.resolved));
  console.log(`${String(result.summary.totalCruised)} files, ${String(toIndex.length)} imports of libraries`);
  const faults = result.summary.violations.map(
    ({ rule, from, to, cycle }) => `${rule.name}: ${from} → ${cycle ? cycle.map((step) => step.name).join(' → ') : to}`,
  );
  const eager = eagerPath(result.modules, 'apps/cli/src/main.ts', LOCALMESH);
  if (eager !== undefined) faults.push(`cli-localmesh-lazily: ${eager.join(' → ')}`);
  // If @capstan/… stopped resolving to libs/…, no rule about libraries could match anything.
  return toIndex.length > 0 ? faults : [...faults, 'no import of a library was resolved: the rules see nothing'];
}

/** Sentences about planted imports that were not reported, and about legal ones that were. */
async function faultsOfPlanted(): Promise<string[]> {
  const rules = (createRequire(import.meta.url)(config) as { forbidden: { name: string }[] }).forbidden;
  const names = new Set(rules.map((rule) => rule.name));
  const { modules, summary } = await cruise(planted, ['apps', 'libs', 'test', 'scripts']);
  const faults: string[] = [];
  const reported = new Map<string, number>();
  for (const { rule, from } of summary.violations) {
    reported.set(`${rule.name} ${from}`, (reported.get(`${rule.name} ${from}`) ?? 0) + 1);
    if (!names.has(ruleOf(from))) faults.push(`${from} is legal, but ${rule.name} reports it`);
  }
  for (const name of names) {
    const files = modules.map((module) => module.source).filter((file) => ruleOf(file) === name);
    if (files.length === 0) faults.push(`${name} has no planted import that proves it`);
    // A cycle is one fault, whichever of its files is reported.
    const found = files.map((file) => reported.get(`${name} ${file}`) ?? 0);
    const expected = await Promise.all(files.map(countImports));
    const bites = name === 'no-cycle' ? found.some((count) => count > 0) : expected.every((n, i) => n === found[i]);
    if (!bites)
      faults.push(
        `${name} misses planted imports: ${files.join(', ')} (${found.join(', ')} of ${expected.join(', ')})`,
      );
  }
  if (eagerPath(modules, 'apps/cli/src/main.ts', LOCALMESH)?.length !== 3) faults.push('an eager import is not seen');
  if (eagerPath(modules, 'apps/cli/src/legal.ts', LOCALMESH)) faults.push('a lazy import is taken for an eager one');
  console.log(`${String(summary.violations.length)} planted imports reported by ${String(names.size)} rules`);
  return faults;
}

const ruleOf = (file: string): string => basename(file).split('.')[0] ?? '';

async function countImports(file: string): Promise<number> {
  return (await readFile(join(planted, file), 'utf8')).split('\n').filter((line) => line.startsWith('import ')).length;
}

const faults = [...(await faultsOfTree()), ...(await faultsOfPlanted())];
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exitCode = 1;
