/** What `capstan` exits with; documented, and pinned by a test. */
export const ExitCode = {
  ok: 0,
  error: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  conflict: 5,
  gateFailed: 6,
  timeout: 7,
  unreachable: 8,
  interrupted: 130,
} as const;

const BY_CODE: Readonly<Record<string, number>> = {
  usage: ExitCode.usage,
  validation: ExitCode.usage,
  'invite-malformed': ExitCode.usage,
  'public-key-malformed': ExitCode.usage,
  'root-key-malformed': ExitCode.usage,
  'audit-range': ExitCode.usage,
  'context-missing': ExitCode.notFound,
  'file-missing': ExitCode.notFound,
  'key-file-missing': ExitCode.notFound,
  'key-record-missing': ExitCode.notFound,
  'instance-missing': ExitCode.notFound,
  'repository-missing': ExitCode.notFound,
  'salvage-missing': ExitCode.notFound,
  'not-found': ExitCode.notFound,
  'already-running': ExitCode.conflict,
  'already-joined': ExitCode.conflict,
  'directory-unusable': ExitCode.conflict,
  'file-exists': ExitCode.conflict,
  'port-in-use': ExitCode.conflict,
  'agent-timeout': ExitCode.timeout,
  'agent-stalled': ExitCode.timeout,
  'instance-away': ExitCode.timeout,
  'wait-timeout': ExitCode.timeout,
  'hub-unreachable': ExitCode.unreachable,
  'spoke-unreachable': ExitCode.unreachable,
  unauthorized: ExitCode.denied,
  forbidden: ExitCode.denied,
  'invite-expired': ExitCode.denied,
  'enrollment-refused': ExitCode.denied,
  'recovery-refused': ExitCode.denied,
  interrupted: ExitCode.interrupted,
};

const BY_STATUS: Readonly<Record<number, number>> = {
  400: ExitCode.usage,
  401: ExitCode.denied,
  403: ExitCode.denied,
  404: ExitCode.notFound,
  409: ExitCode.conflict,
  408: ExitCode.timeout,
  504: ExitCode.timeout,
  502: ExitCode.unreachable,
  503: ExitCode.unreachable,
};

/** The exit code of anything thrown: by its stable code, else by the HTTP status that it came with. */
export function exitCodeOf(error: unknown): number {
  const { code, status } = (error ?? {}) as { code?: unknown; status?: unknown };
  if (typeof code === 'string') {
    const known = BY_CODE[code];
    if (known !== undefined) return known;
    // The owner's policy said no.
    if (code.startsWith('policy-')) return ExitCode.denied;
  }
  if (typeof status === 'number') return BY_STATUS[status] ?? ExitCode.error;
  return ExitCode.error;
}
