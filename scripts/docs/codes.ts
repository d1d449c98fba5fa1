/** Writes the table of codes in docs/protocol.md from libs/protocol/src/faults.ts; with `--check` fails where it differs. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { FAULTS } from '../../libs/protocol/src/faults.ts';

const FILE = new URL('../../docs/protocol.md', import.meta.url);
const [BEGIN, END] = ['<!-- codes:begin -->', '<!-- codes:end -->'];

const rows = Object.entries(FAULTS).map(
  ([code, { retryable, sentence }]) => `| \`${code}\` | ${retryable ? 'later' : 'no'} | ${sentence} |`,
);
const table = ['| code | again? | meaning |', '| --- | --- | --- |', ...rows].join('\n');
const page = readFileSync(FILE, 'utf8');
const [before, after] = [page.slice(0, page.indexOf(BEGIN)), page.slice(page.indexOf(END))];
const written = `${before}${BEGIN}\n\n${table}\n\n${after}`;
const path = fileURLToPath(FILE);
const fresh = await format(written, { ...(await resolveConfig(path)), filepath: path });
if (!process.argv.includes('--check')) writeFileSync(FILE, fresh);
else if (fresh !== page) {
  console.error('The codes in docs/protocol.md are not those of libs/protocol: npm run gen');
  process.exitCode = 1;
}
