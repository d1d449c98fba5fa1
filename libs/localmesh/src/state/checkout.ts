import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LocalFault } from '@capstan/protocol';

/** The checkout that this code belongs to, whether it runs from the sources or from dist. */
export function checkoutRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'nest-cli.json'))) {
    const parent = dirname(directory);
    if (parent === directory)
      throw new LocalFault('checkout-missing', 'The checkout that Capstan runs from cannot be found.');
    directory = parent;
  }
  return directory;
}

/** The built file of `source` (`apps/hub/src/main.js`). @throws LocalFault `not-built` */
export function builtFile(source: string): string {
  const file = join(checkoutRoot(), 'dist', source);
  if (existsSync(file)) return file;
  throw new LocalFault('not-built', `dist/${source} is not built yet; run "npm run build".`);
}

/** The Node that the project pins; the one that runs now where it is not installed. */
export function pinnedNode(): string {
  const file = join(checkoutRoot(), 'node_modules', 'node', 'bin', 'node');
  return existsSync(file) ? file : process.execPath;
}
