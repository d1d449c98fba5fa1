import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Section, table } from './section.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The table of codes in docs/protocol.md, from libs/protocol/src/faults.ts. */
export async function codes(): Promise<Section> {
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
  const rows = Object.entries(FAULTS).map(([name, { retryable, sentence }]) => [
    `\`${name}\``,
    retryable ? 'later' : 'no',
    sentence,
  ]);
  return { page: 'docs/protocol.md', name: 'codes', content: table(['code', 'again?', 'meaning'], rows) };
}
