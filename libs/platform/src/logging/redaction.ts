const HIDDEN = '[hidden]';
const SECRET_NAME =
  /^(?:.*[_-])?(?:token|secret|password|passwd|authorization|cookie|api_?key|apikey|private_?key|invite)$/i;
const CAMEL_SECRET = /(?:Token|Secret|Password|ApiKey|PrivateKey|Authorization)$/;
const SECRET_TEXT: readonly [RegExp, string][] = [
  [/sk-ant-[A-Za-z0-9_-]{8,}/g, HIDDEN],
  [/\b(Bearer\s+)[A-Za-z0-9._~+/=-]{8,}/gi, `$1${HIDDEN}`],
  [/capstan-invite-v1\.[A-Za-z0-9_-]+/g, HIDDEN],
  // A password in a URL; the user name stays, it helps.
  [/([a-z][a-z0-9+.-]*:\/\/[^\s:/?#@"]*:)[^\s@/"]+(@)/gi, `$1${HIDDEN}$2`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, HIDDEN],
];
const MAX_DEPTH = 6;

/** Hides whatever looks like a secret in free text: model keys, bearer tokens, invites, passwords in URLs, private keys. */
export function redactText(text: string): string {
  return SECRET_TEXT.reduce((clean, [pattern, replacement]) => clean.replace(pattern, replacement), text);
}

/** A copy of `value` in which fields named like secrets are hidden and every text went through `redactText`. */
export function redactValue(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return value;
  if (depth >= MAX_DEPTH) return '[deep]';
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `[${String(value.byteLength)} bytes]`;
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, isSecretName(name) ? HIDDEN : redactValue(item, depth + 1)]),
  );
}

function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) || CAMEL_SECRET.test(name);
}

function redactError(error: Error, depth: number): Record<string, unknown> {
  const { code, detail } = error as { code?: unknown; detail?: unknown };
  return {
    type: error.name,
    message: redactText(error.message),
    ...(code === undefined ? {} : { code: redactValue(code, depth + 1) }),
    ...(detail === undefined ? {} : { detail: redactValue(detail, depth + 1) }),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: redactValue(error.cause, depth + 1) }),
  };
}
