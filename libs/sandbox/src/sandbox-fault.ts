export type SandboxFaultCode = 'sandbox-failed' | 'sandbox-gone' | 'sandbox-busy' | 'sandbox-spec';

/** A local fault of a sandbox driver. `detail` is for the log of the machine's owner and never travels. */
export class SandboxFault extends Error {
  override readonly name = 'SandboxFault';

  constructor(
    readonly code: SandboxFaultCode,
    readonly sentence: string,
    readonly detail = '',
    options?: ErrorOptions,
  ) {
    super(detail === '' ? sentence : `${sentence} (${detail})`, options);
  }
}
