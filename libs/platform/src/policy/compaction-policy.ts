/** When the built-in agent's conversation is summed up. */
export interface CompactionPolicy {
  /** Tokens that the context of the agents' model holds, 20000 or more; 200000 unless told. */
  contextTokens: number;
  /** At how many percent of it the older part of a conversation gives way to a summary, 10 to 90; 80 unless told. */
  atPercent: number;
}

/** The smallest context of the models with a list price; an owner whose model holds more says so. */
export const DEFAULT_COMPACTION: CompactionPolicy = { contextTokens: 200_000, atPercent: 80 };

const LEAST_CONTEXT = 20_000;

/** Reads `compaction` of a policy file; it may be absent. Faults are added to `faults`. */
export function parseCompaction(value: unknown, faults: string[]): CompactionPolicy | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    faults.push('compaction must be a mapping');
    return undefined;
  }
  const { contextTokens, atPercent, ...others } = { ...DEFAULT_COMPACTION, ...value };
  for (const field of Object.keys(others)) faults.push(`compaction has an unknown field "${field}"`);
  if (!Number.isSafeInteger(contextTokens) || contextTokens < LEAST_CONTEXT)
    faults.push(`compaction.contextTokens must be a whole number, ${String(LEAST_CONTEXT)} or more`);
  if (!Number.isSafeInteger(atPercent) || atPercent < 10 || atPercent > 90)
    faults.push('compaction.atPercent must be a whole number from 10 to 90');
  return { contextTokens, atPercent };
}
