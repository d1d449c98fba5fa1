import type { DiskUse } from '../port.js';

/** What is watched, and what may be in it at most; plain data, so that a later owner of the sandbox can go on. */
export interface DiskTerms {
  /** Directories of the host that the agent may write. */
  directories: string[];
  bound: DiskUse;
}

/** What an earlier owner has noted as JSON; undefined where it is none. */
export function parseDiskTerms(text: string): DiskTerms | undefined {
  const { directories, bound } = fieldsOf(jsonOf(text));
  const { bytes, entries } = fieldsOf(bound);
  const isWhole = Array.isArray(directories) && directories.every((it): it is string => typeof it === 'string');
  return isWhole && isAmount(bytes) && isAmount(entries) ? { directories, bound: { bytes, entries } } : undefined;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
