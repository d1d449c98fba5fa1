/** What one measurement has found; every figure stands beside the baseline of the same run where one exists. */
export interface Figure {
  /** Letter of the section, `a` to `i`. */
  section: string;
  name: string;
  value: number;
  unit: 'ms' | 'µs' | '1/s' | 'MB' | 'kB' | '%' | 'count';
  /** How many samples the value was taken from. */
  samples: number;
  baseline?: { name: string; value: number };
  /** A promise about this figure, and whether this run has kept it. */
  goal?: { text: string; met: boolean };
}

/** The value below which the given share of the samples lies (nearest rank). @throws RangeError for no samples */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  if (value === undefined) throw new RangeError('no samples');
  return value;
}

/** The mean of at least one sample. */
export const mean = (samples: readonly number[]): number => samples.reduce((sum, x) => sum + x, 0) / samples.length;

const COLUMNS = ['', 'figure', 'value', 'unit', 'baseline', '', 'samples', 'goal'] as const;

/** A table for people; the figures in the order in which they were taken. */
export function formatTable(figures: readonly Figure[]): string {
  const rows = figures.map(({ section, name, value, unit, baseline, samples, goal }) => [
    section,
    name,
    formatNumber(value),
    unit,
    baseline ? formatNumber(baseline.value) : '',
    baseline?.name ?? '',
    String(samples),
    goal ? `${goal.met ? 'met' : 'MISSED'}: ${goal.text}` : '',
  ]);
  const numeric = new Set([2, 4, 6]);
  const widths = COLUMNS.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (numeric.has(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(COLUMNS), line(widths.map((width) => '─'.repeat(width))), ...rows.map(line)].join('\n');
}

function formatNumber(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}
