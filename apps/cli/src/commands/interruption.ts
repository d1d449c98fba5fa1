const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * What ends a mesh early: Ctrl-C, SIGTERM, a closed terminal or pipe, or a fault that nobody caught. Told to whoever
 * waits, as long as this object lives; meanwhile none of them ends the process, which has a mesh to take down.
 */
export class Interruption implements Disposable {
  /** Resolves once it is asked for. */
  readonly requested: Promise<void>;
  /** The fault that asked for it; undefined where a person did. */
  fault: Error | undefined;
  private readonly controller = new AbortController();
  private readonly request: () => void;
  private readonly fail: (fault: Error) => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.requested = promise;
    this.request = () => {
      this.controller.abort();
      resolve(undefined);
    };
    this.fail = (fault) => {
      this.fault ??= fault;
      this.request();
    };
    for (const signal of SIGNALS) process.on(signal, this.request);
    // Whoever read our output has gone: `npm start | head`.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', this.request);
    process.on('uncaughtException', this.fail);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get isRequested(): boolean {
    return this.controller.signal.aborted;
  }

  /** Runs the work; an interruption ends the wait for it. @returns whether the work came to its end */
  async unless(work: () => Promise<void>): Promise<boolean> {
    const running = work();
    // Once interrupted, its faults are nobody's concern.
    running.catch(() => undefined);
    return Promise.race([running.then(() => true), this.requested.then(() => false)]);
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.request);
    for (const stream of [process.stdout, process.stderr]) stream.off('error', this.request);
    process.off('uncaughtException', this.fail);
  }
}
