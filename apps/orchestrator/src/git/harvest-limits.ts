/** What is taken out of a work tree at most. */
export interface HarvestLimits {
  /** Milliseconds from start to end. */
  timeoutMs: number;
  /** Bytes of new objects, packed. */
  packBytes: number;
  /** Bytes of one file, unpacked. */
  fileBytes: number;
  /** Changed paths. */
  files: number;
}

const MIB = 1024 * 1024;
/** A file of 100 MiB is the most that the large hosts of git take. */
export const HARVEST_LIMITS: HarvestLimits = {
  timeoutMs: 120_000,
  packBytes: 256 * MIB,
  fileBytes: 100 * MIB,
  files: 20_000,
};

/** What was taken out of a work tree. */
export interface Harvest {
  tree: string;
  /** Changed paths; one that is not plain text is quoted as git does. */
  files: string[];
  /** Changed files that were too large and are not in it; at most a few of them. */
  leftOut?: readonly string[];
}
