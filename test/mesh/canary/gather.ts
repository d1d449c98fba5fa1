import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';

/** Every object of a repository, reachable or not. */
export function objectsOf(repository: string): string {
  const arguments_ = ['-C', repository, 'cat-file', '--batch-all-objects', '--batch'];
  return execFileSync('git', arguments_, { maxBuffer: 256 * 1024 * 1024 }).toString('latin1');
}

/** Every row of every table, bytes as hex. */
export async function rowsOf(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    );
    const all: string[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(`select t::text as row from ${name} t`);
      all.push(...rows.map(({ row }) => row));
    }
    return all.join('\n');
  } finally {
    await client.end();
  }
}

/** What anybody wrote down below a directory; the database's own files and Node's binary aside. */
export function writtenIn(root: string): string {
  return filesIn(root)
    .map((file) => readFileSync(file, 'latin1'))
    .join('\n');
}

function filesIn(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\/(?:postgres|runtime)(?:\/|$)/.test(entry.parentPath))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => (statSync(file, { throwIfNoEntry: false })?.size ?? Infinity) < 8 * 1024 * 1024);
}
