import { existsSync, readFileSync } from 'node:fs';

const ROOT = new URL('../../', import.meta.url);
const PAGE = 'docs/threat-model.md';

/** Tests that docs/threat-model.md names, as `` `FILE` “NAME” ``, and that are not there. */
export function missingTests(): string[] {
  const page = readFileSync(new URL(PAGE, ROOT), 'utf8');
  const named = [...page.matchAll(/`([^`]+\.ts)` “([^”]+)”/g)];
  if (named.length === 0) return [`${PAGE} names no test`];
  return named.flatMap(([, file = '', name = '']) =>
    hasTest(new URL(file, ROOT), name) ? [] : [`${PAGE} names a test that is not there: ${file} “${name}”`],
  );
}

function hasTest(file: URL, name: string): boolean {
  return existsSync(file) && readFileSync(file, 'utf8').replaceAll("\\'", "'").includes(name);
}
