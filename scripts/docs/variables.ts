import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGE = 'docs/reference/environment.md';
/** The agent's is its sandbox's and nobody's to set; tests have their own. */
const LEFT_OUT = /^apps\/agent\/|\.(?:spec|contract)\.ts$/;
const READ = /\benv(?:\.|\[')((?:CAPSTAN|ANTHROPIC|CLAUDE)_[A-Z_]+)/g;

/** Variables that some code reads by name, past the classes of `configuration.ts`, and that docs/reference does not name. */
export function unnamedVariables(): string[] {
  const page = readFileSync(join(ROOT, PAGE), 'utf8');
  const sources = ['apps', 'libs'].flatMap((kind) =>
    readdirSync(join(ROOT, kind), { recursive: true, encoding: 'utf8' })
      .map((file) => join(kind, file))
      .filter((file) => /^\w+\/[\w-]+\/src\/.*\.ts$/.test(file) && !LEFT_OUT.test(file)),
  );
  return sources.flatMap((file) => {
    const read = readFileSync(join(ROOT, file), 'utf8').matchAll(READ);
    const names = new Set([...read].map(([, name = '']) => name));
    return [...names].filter((name) => !page.includes(`\`${name}\``)).map((name) => `${PAGE} lacks ${name} of ${file}`);
  });
}
