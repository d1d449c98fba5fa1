/** A prefix rule must not be left again by going up, in plain or percent-encoded dots. */
function staysInside(rest: string): boolean {
  const segments = rest.split(/[/\\]/);
  return !segments.some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment) || /%2f|%5c/i.test(segment));
}

/** Whether a rule, an exact path or URL or a prefix that ends in `/*`, allows a repository. */
export function allowsRepository(rule: string, repository: string): boolean {
  if (rule === repository) return true;
  if (!rule.endsWith('/*')) return false;
  const prefix = rule.slice(0, -1);
  if (!repository.startsWith(prefix) || repository.length === prefix.length) return false;
  return staysInside(repository.slice(prefix.length));
}

/** Whether everything that `narrow` allows is allowed by `wide`; both are rules as {@link allowsRepository} knows them. */
export function coversRepositoryRule(wide: string, narrow: string): boolean {
  if (!narrow.endsWith('/*')) return allowsRepository(wide, narrow);
  if (wide === narrow) return true;
  return wide.endsWith('/*') && allowsRepository(wide, narrow.slice(0, -2));
}
