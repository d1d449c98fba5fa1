/**
 * Calls `onSilent` once `silentSince` lies `deadAfterMs` back. One timer that is set anew for the time that is left:
 * a frame costs nothing here.
 */
export class SilenceWatch implements Disposable {
  private timer: NodeJS.Timeout | undefined;
  private recheck: NodeJS.Immediate | undefined;

  constructor(
    private readonly deadAfterMs: number,
    private readonly silentSince: () => number,
    private readonly now: () => number,
    private readonly onSilent: () => void,
  ) {
    this.arm();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.timer);
    clearImmediate(this.recheck);
  }

  private left(): number {
    return this.silentSince() + this.deadAfterMs - this.now();
  }

  private arm(): void {
    this.timer = setTimeout(
      () => {
        if (this.left() > 0) this.arm();
        // Timers run before sockets are read: after a stall of ours (a suspended machine, a long pause) the peer's
        // frames may be waiting. They are read before this is looked at again.
        else this.recheck = setImmediate(() => (this.left() > 0 ? this.arm() : this.onSilent()));
      },
      Math.max(1, Math.ceil(this.left())),
    );
  }
}
