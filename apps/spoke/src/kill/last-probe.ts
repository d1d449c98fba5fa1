import { Injectable } from '@nestjs/common';

/** When the hub last proved that a kill would reach this instance's reaper. */
@Injectable()
export class LastProbe {
  private answeredAtMs: number | undefined;

  answered(atMs: number): void {
    this.answeredAtMs = atMs;
  }

  /** Milliseconds since then; infinite where it was never proven since this process began. */
  ageMs(nowMs: number): number {
    return this.answeredAtMs === undefined ? Infinity : Math.max(0, nowMs - this.answeredAtMs);
  }
}
