import { ApiFault } from './api-fault.js';

/** What must be known of a request's whole depth. */
export interface RequestSurvey {
  /** Whether a part of the prompt is to be kept in the cache for an hour, which is dearer than five minutes. */
  isKeptForAnHour: boolean;
  /** Pictures in base64. */
  images: number;
  /** Whether there is another file in base64, such as a PDF. */
  hasDocument: boolean;
}

/** Of lists and objects in each other; tools' schemas and results stay far below. */
const DEEPEST = 200;

/** Sources that the server would fetch or look up for the agent. */
const FOREIGN_SOURCES: readonly unknown[] = ['url', 'file'];

/**
 * Walks through a request, once.
 *
 * @throws {ApiFault} `permission_error` for a source outside of the sandbox; `invalid_request_error` where it is too deep: on
 *   the way to the model the body is written with the call stack
 */
export function surveyOf(body: object): RequestSurvey {
  const survey: RequestSurvey = { isKeptForAnHour: false, images: 0, hasDocument: false };
  // A stack of our own: the agent decides how deep the body is.
  const pending: [value: object, depth: number][] = [[body, 0]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [value, depth] = next;
    if (depth > DEEPEST)
      throw new ApiFault('invalid_request_error', `the body is nested deeper than ${String(DEEPEST)}`);
    if (!Array.isArray(value)) note(value as Record<string, unknown>, survey);
    for (const each of Object.values(value) as unknown[])
      if (typeof each === 'object' && each !== null) pending.push([each, depth + 1]);
  }
  return survey;
}

function note({ type, source, cache_control: control }: Record<string, unknown>, survey: RequestSurvey): void {
  if (field(control, 'ttl') === '1h') survey.isKeptForAnHour = true;
  const from = field(source, 'type');
  if (FOREIGN_SOURCES.includes(from))
    throw new ApiFault('permission_error', `source: ${String(from)} reaches outside of the sandbox`);
  if (from !== 'base64') return;
  if (type === 'image') survey.images += 1;
  else survey.hasDocument = true;
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
