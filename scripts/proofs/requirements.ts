/**
 * `npm run requirements [-- --check]`: which rows of test/requirements.yaml have a test that proves them and passed when
 * it last ran. With --check it fails where a row of a slice that is done has none.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { PROOFS_DIRECTORY, readProofs } from './store.ts';

interface Row {
  title: string;
  stage: number;
  /** Number of the slice that must prove it; absent: a later one. */
  slice?: number;
}

/** Slices up to this one are done: a row of theirs without a proof is a fault. */
const DONE = 3;

const rows = parse(readFileSync('test/requirements.yaml', 'utf8')) as Record<string, Row>;
const tests = new Map<string, number>();
const unknown = new Set<string>();
for (const proofs of Object.values(readProofs(PROOFS_DIRECTORY))) {
  for (const { id } of proofs) {
    if (rows[id] === undefined) unknown.add(id);
    tests.set(id, (tests.get(id) ?? 0) + 1);
  }
}

const proven = Object.keys(rows).filter((id) => tests.has(id));
console.log(`Proven (${String(proven.length)}):`);
for (const id of proven)
  console.log(`  ${id.padEnd(8)} ${String(tests.get(id)).padStart(3)} tests  ${rows[id]?.title ?? ''}`);
const open = Object.entries(rows).filter(([id]) => !tests.has(id));
const isDue = (row: Row): boolean => (row.slice ?? Infinity) <= DONE;
const due = open.filter(([, row]) => isDue(row));
console.log(`\nWithout proof (${String(open.length)}), * is due:`);
for (const [id, row] of open) {
  console.log(`${isDue(row) ? '*' : ' '} ${id.padEnd(8)} stage ${String(row.stage)}  ${row.title}`);
}
console.log(
  `\n${String(proven.length)} of ${String(Object.keys(rows).length)} rows proven, ${String(due.length)} due without proof`,
);
for (const id of unknown) console.error(`a test proves ${id}, which is no row of test/requirements.yaml`);
if (unknown.size > 0 || (process.argv.includes('--check') && due.length > 0)) process.exitCode = 1;
