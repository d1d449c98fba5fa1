/**
 * What went wrong here and never travels: files, configuration, processes.
 *
 * `sentence` is for people and says what to do; `detail` is for the log.
 */
export class LocalFault extends Error {
  override readonly name = 'LocalFault';

  constructor(
    readonly code: string,
    readonly sentence: string,
    readonly detail?: string,
    options?: ErrorOptions,
  ) {
    super(detail === undefined ? `${code}: ${sentence}` : `${code}: ${sentence} (${detail})`, options);
  }
}
