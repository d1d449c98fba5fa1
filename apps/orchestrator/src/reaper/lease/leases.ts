import type { KeyRing } from '@capstan/identity';
import { WireFault } from '@capstan/protocol';
import type { Journal } from '../journal/journal.js';
import type { Deaths } from '../kill/deaths.js';
import type { RegisterRecord } from '../register/record.js';
import type { AgentEntry, Register } from '../register/register.js';
import type { Clock, Moment } from './clock.js';
import { isNewer, leftMs } from './lease.js';
import { readRenewal } from './read-renewal.js';

/** Between two looks at the clocks. Timers stand still in suspend: the first look after it is no later than this. */
const TICK_MS = 250;

export interface LeasesParts {
  register: Register;
  journal: Pick<Journal<RegisterRecord>, 'append'>;
  deaths: Pick<Deaths, 'lapse'>;
  /** The hub's, pinned for this purpose. */
  keys: KeyRing;
  instanceId: string;
  clock: Clock;
  report: (error: unknown) => void;
}

/** Agents that live by the hub's word live as long as that is renewed. */
export class Leases {
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly parts: LeasesParts) {}

  /** Ends what is overdue at once, and from now on whatever becomes so. */
  start(): void {
    this.look();
    this.timer = setInterval(() => this.look(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /**
   * Takes a renewal as the hub signed it; on disk when this resolves, so that a restart neither extends nor forgets it.
   *
   * @returns until when the hub stands for it: wall clock, milliseconds
   * @throws {WireFault} `lease-older`; as `readRenewal`
   */
  async renew(bytes: Uint8Array): Promise<number> {
    const { register, journal, keys, instanceId, clock } = this.parts;
    const now = clock();
    const renewal = readRenewal(bytes, { keys, instanceId, nowMs: now.wallMs });
    if (!isNewer(renewal, register.lease)) throw new WireFault('lease-older', `counter ${String(renewal.counter)}`);
    // Who is overdue dies, although word comes now: a death that others count on is not taken back.
    this.end(this.overdue(now));
    const { hubId, sessionEpoch, counter, durationMs } = renewal;
    const record: RegisterRecord = {
      kind: 'lease',
      at: now.wallMs,
      hubId,
      sessionEpoch: String(sessionEpoch),
      counter: String(counter),
      durationMs,
      taken: now,
    };
    register.apply(record);
    await journal.append(record);
    return now.wallMs + durationMs;
  }

  /** Whether an agent may start now. @param killAfterMs 0 for one that needs no lease. */
  allowsStart(killAfterMs: number): boolean {
    return killAfterMs === 0 || this.left(killAfterMs, this.now()) > 0;
  }

  /** Wall clock at which the agent's lease ends, milliseconds; 0 where it has none. */
  untilMs({ killAfterMs }: AgentEntry): number {
    const now = this.now();
    if (killAfterMs === 0) return 0;
    return now === undefined ? 1 : Math.max(1, now.wallMs + this.left(killAfterMs, now));
  }

  private look(): void {
    const leased = this.parts.register.living().some(({ killAfterMs }) => killAfterMs > 0);
    if (leased) this.end(this.overdue(this.now()));
  }

  private overdue(now: Moment | undefined): AgentEntry[] {
    const isOverdue = ({ killAfterMs }: AgentEntry): boolean => killAfterMs > 0 && this.left(killAfterMs, now) <= 0;
    return this.parts.register.living().filter(isOverdue);
  }

  private end(agents: AgentEntry[]): void {
    for (const { agentId } of agents) this.parts.deaths.lapse(agentId).catch(this.parts.report);
  }

  private left(killAfterMs: number, now: Moment | undefined): number {
    return now === undefined ? 0 : leftMs(this.parts.register.lease, killAfterMs, now);
  }

  /** Undefined where no time is known: then no lease is known to last. */
  private now(): Moment | undefined {
    try {
      return this.parts.clock();
    } catch (error) {
      this.parts.report(error);
      return undefined;
    }
  }
}
