import { terminalText } from './terminal-text.js';

/** Rows in columns as wide as their longest text; two spaces between. Cells are made safe before they are measured. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const clean = rows.map((row) => row.map((cell) => terminalText(cell).replaceAll(/[\n\t]+/g, ' ')));
  const widths = clean.reduce<number[]>(
    (known, row) => row.map((cell, at) => Math.max(known[at] ?? 0, cell.length)),
    [],
  );
  return clean.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
