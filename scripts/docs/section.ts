import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

const ROOT = new URL('../../', import.meta.url);

/** What stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` on a page. */
export interface Section {
  /** Path of the page from the root of the checkout. */
  page: string;
  name: string;
  /** Markdown. */
  content: string;
}

/**
 * Puts sections into their pages, formatted as the whole tree is.
 *
 * @param isCheck writes nothing
 * @returns the pages that were not as they are now. @throws Error where a page lacks a section's marks
 */
export async function putSections(sections: readonly Section[], isCheck: boolean): Promise<string[]> {
  const stale: string[] = [];
  for (const page of new Set(sections.map((section) => section.page))) {
    const before = readFileSync(new URL(page, ROOT), 'utf8');
    const written = sections.filter((section) => section.page === page).reduce(put, before);
    if (await putFile(page, written, isCheck)) stale.push(page);
  }
  return stale;
}

/**
 * Writes a whole file, formatted as the tree is.
 *
 * @param path from the root of the checkout. @param isCheck writes nothing
 * @returns whether it was not as it is now
 */
export async function putFile(path: string, text: string, isCheck: boolean): Promise<boolean> {
  const file = fileURLToPath(new URL(path, ROOT));
  const after = await format(text, { ...(await resolveConfig(file)), filepath: file });
  if (existsSync(file) && readFileSync(file, 'utf8') === after) return false;
  if (isCheck) return true;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, after);
  return true;
}

function put(text: string, { page, name, content }: Section): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${page} lacks ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${content}\n\n${text.slice(to)}`;
}

/** A table; bars in cells are escaped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
