/** The API's own error types that the gateway answers with. */
type ApiErrorType =
  | 'invalid_request_error'
  | 'billing_error'
  | 'permission_error'
  | 'not_found_error'
  | 'request_too_large'
  | 'rate_limit_error'
  | 'api_error'
  | 'overloaded_error';

const STATUS: Readonly<Record<ApiErrorType, number>> = {
  invalid_request_error: 400,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 502,
  overloaded_error: 529,
};

/** A refusal in the form that every client of the API understands. */
export class ApiFault extends Error {
  override readonly name: string = 'ApiFault';
  readonly status: number;

  constructor(
    readonly type: ApiErrorType,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.status = STATUS[type];
  }

  /** Whether the client should ask again by itself. */
  get isWorthRepeating(): boolean {
    return this.status === 429 || this.status === 502;
  }

  get body(): string {
    return JSON.stringify({ type: 'error', error: { type: this.type, message: this.message } });
  }
}
