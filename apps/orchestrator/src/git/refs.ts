import { WireFault } from '@capstan/protocol';

// Narrower than git's own rules (git-check-ref-format): letters and digits of any script, and few marks.
const BRANCH = /^[\p{L}\p{N}_][\p{L}\p{N}_./+@#=,!%&()-]{0,199}$/u;
const NEVER = /\.\.|\/\/|\/\.|@\{|\.lock(?:\/|$)|[./]$/;
const OBJECT_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** Whether a string is a branch name that we use: never an option, a path upwards, or a revision expression. */
export function isBranchName(name: string): boolean {
  return BRANCH.test(name) && !NEVER.test(name);
}

/** @throws {WireFault} `branch-missing` */
export function branchName(name: string): string {
  if (!isBranchName(name)) throw new WireFault('branch-missing', JSON.stringify(name.slice(0, 200)));
  return name;
}

/** An id that git printed or a caller gave. @throws Error */
export function objectId(text: string): string {
  if (!OBJECT_ID.test(text)) throw new Error(`no object id: ${JSON.stringify(text.slice(0, 100))}`);
  return text;
}
