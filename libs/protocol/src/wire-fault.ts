import { FAULTS, type FaultCode } from './faults.js';

/**
 * A fault that travels: the receiver of a message refuses it, and the sender is told the code, whether a retry can
 * help, and the public sentence. `detail` stays here, in the log.
 */
export class WireFault extends Error {
  override readonly name = 'WireFault';
  readonly retryable: boolean;
  readonly sentence: string;

  constructor(
    readonly code: FaultCode,
    readonly detail?: string,
    options?: ErrorOptions,
  ) {
    const { retryable, sentence } = FAULTS[code];
    super(detail === undefined ? `${code}: ${sentence}` : `${code}: ${sentence} (${detail})`, options);
    this.retryable = retryable;
    this.sentence = sentence;
  }
}
