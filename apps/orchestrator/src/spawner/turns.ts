/** Lets so many tasks run at once; the others wait, in the order in which they came. */
export class Turns {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.free = atOnce;
  }

  /** @param signal whoever waits goes away where it is aborted. */
  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.free > 0) this.free -= 1;
    // Whoever has ended hands its place on.
    else await this.turn(signal);
    try {
      return await task();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.free += 1;
      else next();
    }
  }

  private async turn(signal: AbortSignal | undefined): Promise<void> {
    const mine = Promise.withResolvers<void>();
    const leave = (): void => {
      const at = this.waiting.indexOf(mine.resolve);
      // It was its turn just now: the task hears the signal.
      if (at < 0) return;
      this.waiting.splice(at, 1);
      mine.reject(signal?.reason);
    };
    this.waiting.push(mine.resolve);
    signal?.addEventListener('abort', leave, { once: true });
    try {
      await mine.promise;
    } finally {
      signal?.removeEventListener('abort', leave);
    }
  }
}
