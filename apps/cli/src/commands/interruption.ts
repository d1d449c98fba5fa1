const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Ctrl-C, SIGTERM or a closed terminal: told to whoever waits, as long as this object lives. */
export class Interruption implements Disposable {
  /** True once work was left unfinished because of it. */
  cutWork = false;
  private readonly controller = new AbortController();
  /** Resolves once it is asked for. */
  readonly requested: Promise<void>;
  private readonly listener: () => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.requested = promise;
    this.listener = () => {
      this.controller.abort();
      resolve(undefined);
    };
    for (const signal of SIGNALS) process.on(signal, this.listener);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get isRequested(): boolean {
    return this.controller.signal.aborted;
  }

  /** Runs the work; an interruption ends the wait for it. Faults after that are nobody's concern. */
  async unless(work: () => Promise<void>): Promise<void> {
    const running = work();
    running.catch(() => undefined);
    await Promise.race([running, this.requested.then(() => (this.cutWork = true))]);
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.listener);
  }
}
