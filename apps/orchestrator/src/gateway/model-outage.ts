import { ApiFault } from './api-fault.js';

export interface OutageFacts {
  /** What the upstream answered; 0 where it did not answer. */
  status: number;
  /** What the upstream asks to wait, milliseconds. */
  retryAfterMs?: number;
  /** Whether the same request may succeed a little later. */
  isPassing: boolean;
  /** The upstream may have worked on it, and bill it. */
  mayHaveCost?: boolean;
}

/** The model does not serve the instance, which is not the agent's doing. What it says of the account stays outside. */
export class ModelOutage extends ApiFault {
  override readonly name = 'ModelOutage';

  /** @param reason for people: no detail of the account, no address. @param attempts that were made. */
  constructor(
    readonly reason: string,
    readonly facts: OutageFacts,
    options?: ErrorOptions,
    readonly attempts = 1,
  ) {
    const times = attempts === 1 ? '' : ` (${String(attempts)} attempts)`;
    super(typeOf(facts.status), `model-unavailable: ${reason}${times}`, options);
  }

  /** The gateway has repeated it as often as it makes sense. */
  override get isWorthRepeating(): boolean {
    return false;
  }

  after(attempts: number): ModelOutage {
    return new ModelOutage(this.reason, this.facts, { cause: this.cause }, attempts);
  }
}

function typeOf(status: number): 'rate_limit_error' | 'overloaded_error' | 'api_error' {
  if (status === 429) return 'rate_limit_error';
  return status === 529 ? 'overloaded_error' : 'api_error';
}

/** Of the upstream's refusals, those that are about the request; everything else is about the instance or the upstream. */
const OF_THE_REQUEST: readonly number[] = [400, 404, 413, 422];

/** undefined where the reply, good or bad, is the agent's. */
export function outageOf(status: number, headers: Headers): ModelOutage | undefined {
  if ((status >= 200 && status < 300) || OF_THE_REQUEST.includes(status)) return undefined;
  const retryAfterMs = retryAfterOf(headers.get('retry-after'));
  const told = headers.get('x-should-retry');
  const isPassing =
    told === null ? status === 408 || status === 409 || status === 429 || status >= 500 : told === 'true';
  const facts = { status, isPassing, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  return new ModelOutage(`${sentenceOf(status)} (${String(status)})`, facts);
}

/** Seconds, or a date (RFC 9110, 10.2.3). */
function retryAfterOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d{1,9}(?:\.\d+)?$/.test(header) ? Number(header) : NaN;
  const ms = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1000;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function sentenceOf(status: number): string {
  if (status === 401 || status === 403) return 'the provider refuses the key of this instance';
  if (status === 402) return 'the account of this instance is unpaid';
  if (status === 429) return 'the rate limit of this instance is reached';
  return status === 529 ? 'the provider is overloaded' : 'the provider does not serve';
}
