/** In whose name agents' work is committed. */
export interface AuthorPolicy {
  /** One line. */
  name: string;
  /** One line. */
  email: string;
}

const ONE_LINE = /^[^\u0000-\u001f\u007f<>]{1,200}$/;

/** Reads `author` of a policy file; it may be absent. Faults are added to `faults`. */
export function parseAuthor(value: unknown, faults: string[]): AuthorPolicy | undefined {
  if (value === undefined) return undefined;
  const { name, email, ...others } = (value ?? {}) as Record<string, unknown>;
  for (const field of Object.keys(others)) faults.push(`author has an unknown field "${field}"`);
  if (typeof name === 'string' && typeof email === 'string' && ONE_LINE.test(name) && ONE_LINE.test(email)) {
    return { name, email };
  }
  faults.push('author must have a name and an email of one line each, without < and >');
  return undefined;
}
