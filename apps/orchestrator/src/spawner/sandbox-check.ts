import type { SandboxDrivers, SandboxProbe } from '@capstan/sandbox';
import { withinTime } from '../killswitch/within-time.js';

/** A way to run agents, and whether it works now. */
export interface SandboxState extends SandboxProbe {
  name: string;
}

/** A driver that has said nothing for so long, as a Docker that hangs, counts as one that does not work. */
const ANSWER_MS = 3_000;
/** Whoever asks more often gets the same answer: each one makes a sandbox. */
const FRESH_MS = 30_000;

/** Which sandboxes this instance really has: one of each is made to find out. */
export class SandboxCheck {
  private last: { atMs: number; states: Promise<SandboxState[]> } | undefined;

  constructor(private readonly drivers: Pick<SandboxDrivers, 'probeEach'>) {}

  /** The default first. Never rejects. */
  states(): Promise<SandboxState[]> {
    if (this.last === undefined || performance.now() - this.last.atMs > FRESH_MS)
      this.last = { atMs: performance.now(), states: this.ask() };
    return this.last.states;
  }

  private ask(): Promise<SandboxState[]> {
    return Promise.all(
      this.drivers.probeEach().map(async ({ name, probe }) => {
        const answered = probe.catch((error: unknown) => ({ available: false, reason: String(error) }));
        const late = { available: false, reason: 'It does not answer.' };
        return { name, ...(await withinTime(ANSWER_MS, answered, late)) };
      }),
    );
  }
}
