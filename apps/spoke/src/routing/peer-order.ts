import type { VerifiedReceipt } from '@capstan/evidence';
import type { Envelope, LaneName, WireFault } from '@capstan/protocol';

/** The answer of another instance, verified here with its own keys. */
export interface PeerAnswer {
  receipt: VerifiedReceipt;
  envelope: Envelope;
}

/** A command of ours for another instance, until it is answered or given up. */
export class PeerOrder {
  private readonly answers: PeerAnswer[] = [];
  private fault: WireFault | undefined;
  private tell: () => void = () => undefined;

  constructor(
    readonly target: string,
    readonly envelope: Envelope,
    readonly lane: LaneName,
    /** Of this process's monotonic clock, milliseconds. */
    readonly givenUpAt: number,
  ) {}

  get isRefused(): boolean {
    return this.fault !== undefined;
  }

  hear(answer: PeerAnswer): void {
    this.answers.push(answer);
    this.tell();
  }

  refuse(fault: WireFault): void {
    this.fault ??= fault;
    this.tell();
  }

  /**
   * The first answer that is enough; where none has come in time the latest, if there is one.
   *
   * @throws WireFault why the hub, or without a signature the target, has refused the command
   */
  async answer(waitMs: number, isEnough: (answer: PeerAnswer) => boolean): Promise<PeerAnswer | undefined> {
    const deadline = performance.now() + waitMs;
    for (;;) {
      const found = this.answers.find(isEnough);
      if (found !== undefined) return found;
      if (this.fault !== undefined) throw this.fault;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return this.answers.at(-1);
      await this.news(leftMs);
    }
  }

  private async news(withinMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, withinMs);
    this.tell = resolve;
    await promise;
    clearTimeout(timer);
  }
}
