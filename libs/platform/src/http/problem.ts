import { HttpException } from '@nestjs/common';
import { LocalFault, WireFault } from '@capstan/protocol';
import { type FieldError, RequestFault } from './request-validation.js';

/** An RFC 9457 problem document; `code` is stable, `detail` is one sentence for people. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  retryable?: boolean;
  errors?: readonly FieldError[];
}

/** HTTP statuses of codes that are not simply "the request cannot be accepted" (422). */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  unauthorized: 401,
  'enrollment-token': 401,
  forbidden: 403,
  'rearm-same-person': 403,
  'not-found': 404,
  'agent-unknown': 404,
  'instance-unknown': 404,
  'agent-exists': 409,
  'name-taken': 409,
  'message-exists': 409,
  'agent-not-running': 409,
  'agent-ended': 409,
  'connection-not-active': 409,
  'connection-transition': 409,
  'enrollment-mismatch': 409,
  'kill-epoch': 409,
  disarmed: 409,
  tombstoned: 409,
  'enrollment-expired': 410,
  'envelope-too-large': 413,
  'frame-too-large': 413,
  validation: 400,
  'id-malformed': 400,
  'envelope-malformed': 400,
  'payload-malformed': 400,
  'payload-type-unknown': 400,
  'unknown-field': 400,
  'too-many-connections': 429,
  'messages-full': 429,
  internal: 500,
  'orchestrator-lost': 502,
  'replica-stale': 503,
  'queue-unavailable': 503,
  'audit-unavailable': 503,
  'not-ready': 503,
  'database-unavailable': 503,
  'reaper-unavailable': 503,
  'model-unavailable': 503,
  'instance-away': 504,
};

const CODE_OF_STATUS: Readonly<Record<number, string>> = {
  400: 'validation',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  413: 'envelope-too-large',
  429: 'too-many-connections',
};

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  410: 'Gone',
  413: 'Content Too Large',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** The public face of anything thrown. Private detail (`cause`, stack, unknown messages) never gets in. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof RequestFault) {
    return { ...problem(400, 'validation', 'The request is not valid.'), errors: thrown.errors };
  }
  if (thrown instanceof WireFault) {
    return { ...problem(statusOf(thrown.code, 422), thrown.code, thrown.sentence), retryable: thrown.retryable };
  }
  if (thrown instanceof LocalFault) {
    return problem(statusOf(thrown.code, 500), thrown.code, thrown.sentence);
  }
  if (thrown instanceof HttpException) return problemOfHttp(thrown.getStatus(), thrown.message);
  // body-parser and other express middleware throw errors of their own with `status` and `expose`.
  const { status, expose, message } = (thrown ?? {}) as { status?: unknown; expose?: unknown; message?: unknown };
  if (typeof status === 'number' && status >= 400 && status < 500 && expose === true) {
    return problemOfHttp(status, String(message));
  }
  return problem(500, 'internal', 'Something went wrong inside; the log of this process says more.');
}

function problemOfHttp(status: number, message: string): Problem {
  const code = CODE_OF_STATUS[status] ?? (status >= 500 ? 'internal' : 'validation');
  return problem(status, code, status >= 500 ? 'Something went wrong inside.' : message);
}

function statusOf(code: string, otherwise: number): number {
  return STATUS_OF_CODE[code] ?? otherwise;
}

function problem(status: number, code: string, detail: string): Problem {
  return { type: `urn:capstan:problem:${code}`, title: TITLES[status] ?? 'Error', status, code, detail };
}
