import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LocalFault } from '@capstan/platform';

const JOURNAL = join('meta', '_journal.json');

/**
 * The folder of the committed migrations.
 *
 * The compiler copies no SQL, so from `dist/` the folder lies in the checkout further up; an image may put it beside the
 * built file. The nearest wins.
 *
 * @throws LocalFault `migrations-missing`
 */
export function migrationsFolder(from: string = dirname(fileURLToPath(import.meta.url))): string {
  for (let directory = from; ; directory = dirname(directory)) {
    const found = [join(directory, 'migrations'), join(directory, 'apps', 'hub', 'src', 'database', 'migrations')].find(
      (folder) => existsSync(join(folder, JOURNAL)),
    );
    if (found !== undefined) return found;
    if (directory === dirname(directory)) break;
  }
  throw new LocalFault('migrations-missing', 'The database migrations are not beside the hub nor above it.', from);
}
