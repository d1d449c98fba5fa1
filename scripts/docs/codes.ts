/** Writes the table of codes in docs/protocol.md from libs/protocol/src/faults.ts; with `--check` fails where it differs. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { format, resolveConfig } from 'prettier';

const FILE = new URL('../../docs/protocol.md', import.meta.url);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const [BEGIN, END] = ['<!-- codes:begin -->', '<!-- codes:end -->'];

// node cannot load the library's sources as they stand: generated code holds enums, which are no types to be stripped.
const { outputFiles } = await build({
  stdin: { contents: "export { FAULTS } from '@capstan/protocol';", resolveDir: ROOT, loader: 'ts' },
  bundle: true,
  format: 'esm',
  write: false,
});
const code = Buffer.from(outputFiles[0]?.contents ?? []).toString('base64');
const { FAULTS } = (await import(`data:text/javascript;base64,${code}`)) as {
  FAULTS: Record<string, { retryable: boolean; sentence: string }>;
};

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
