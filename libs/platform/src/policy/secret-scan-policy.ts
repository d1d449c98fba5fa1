/** A place at which the owner excuses what one rule finds. */
export interface SecretAllowance {
  /** Exact path in the repository, or a directory followed by `/*`, which stands for all that is beneath it. */
  path: string;
  /** The rule's name as a finding gives it. */
  rule: string;
}

/** The owner's word on the secret scan. */
export interface SecretScanPolicy {
  allow: readonly SecretAllowance[];
}

/** Never to be excused: what the instance has given to the agent itself. */
const NEVER = 'issued-secret';

/** Reads `secretScan` of a policy file; it may be absent. Faults are added to `faults`. */
export function parseSecretScan(value: unknown, faults: string[]): SecretScanPolicy {
  if (value === undefined) return { allow: [] };
  const { allow = [], ...others } = (value ?? {}) as Record<string, unknown>;
  for (const field of Object.keys(others)) faults.push(`secretScan has an unknown field "${field}"`);
  if (!Array.isArray(allow)) {
    faults.push('secretScan.allow must be a list');
    return { allow: [] };
  }
  return { allow: allow.map((each: unknown, at) => allowance(each, `secretScan.allow[${String(at)}]`, faults)) };
}

function allowance(value: unknown, name: string, faults: string[]): SecretAllowance {
  const { path, rule, ...others } = (value ?? {}) as Record<string, unknown>;
  for (const field of Object.keys(others)) faults.push(`${name} has an unknown field "${field}"`);
  if (typeof path !== 'string' || path === '' || path === '/*')
    faults.push(`${name}.path must be a path, or one that ends in /*`);
  if (typeof rule !== 'string' || !/^[a-z0-9-]{1,63}$/.test(rule))
    faults.push(`${name}.rule must be the name of a rule`);
  if (rule === NEVER) faults.push(`${name}.rule: ${NEVER} cannot be excused`);
  return { path: String(path), rule: String(rule) };
}
