import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrationsFolder } from './migrations.js';

test('the migrations are found from the sources, from a build, and beside a shipped build', async () => {
  const root = await mkdtemp(join(tmpdir(), 'capstan-migrations-'));
  try {
    const journalIn = async (folder: string): Promise<string> => {
      await mkdir(join(root, folder, 'meta'), { recursive: true });
      await writeFile(join(root, folder, 'meta', '_journal.json'), '{}');
      return join(root, folder);
    };
    const built = join(root, 'dist', 'apps', 'hub', 'src', 'database');
    expect(() => migrationsFolder(built)).toThrow('migrations-missing');
    const inCheckout = await journalIn('apps/hub/src/database/migrations');
    expect(migrationsFolder(join(root, 'apps', 'hub', 'src', 'database'))).toBe(inCheckout);
    expect(migrationsFolder(built)).toBe(inCheckout);
    const shipped = await journalIn('dist/apps/hub/src/database/migrations');
    expect(migrationsFolder(built)).toBe(shipped);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
