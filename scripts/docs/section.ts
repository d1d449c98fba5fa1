import { readFileSync, writeFileSync } from 'node:fs';
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
    const file = fileURLToPath(new URL(page, ROOT));
    const before = readFileSync(file, 'utf8');
    const written = sections.filter((section) => section.page === page).reduce(put, before);
    const after = await format(written, { ...(await resolveConfig(file)), filepath: file });
    if (after === before) continue;
    stale.push(page);
    if (!isCheck) writeFileSync(file, after);
  }
  return stale;
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
