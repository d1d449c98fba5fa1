/** Aborts where nothing has come for too long; a server that accepts and is silent would hold an agent for ever. */
export class IdleLimit implements Disposable {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;

  /** @param ms milliseconds of silence that are borne. */
  constructor(ms: number) {
    this.timer = setTimeout(() => this.controller.abort(), ms);
    this.timer.unref();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get isOver(): boolean {
    return this.controller.signal.aborted;
  }

  /** Something came. */
  renew(): void {
    this.timer.refresh();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.timer);
  }
}
