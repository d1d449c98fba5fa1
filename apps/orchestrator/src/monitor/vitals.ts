import type { StallPolicy } from '@capstan/platform';
import type { AgentId, VitalsView } from '@capstan/protocol';
import type { ResourceUse } from '@capstan/sandbox';
import { clockAt } from './steady-time.js';

/** What an agent used at one moment. */
export interface Sample extends ResourceUse {
  /** Milliseconds of `steadyNow`; where it is shown, since the epoch. */
  atMs: number;
}

/** An agent has stalled, or does something again. */
export interface StallNotice {
  agentId: AgentId;
  /** ISO 8601. */
  at: string;
  stalled: boolean;
  /** How long it had done nothing that is to be seen, milliseconds. */
  silentMs: number;
  /** One sentence; empty where it goes on. */
  reason: string;
  /** What the owner's policy makes of it; `none` where it goes on. */
  action: StallPolicy['action'] | 'none';
}

/** Samples of one agent that are kept: four minutes' worth. */
const MOST_SAMPLES = 120;
/** Thousandths of a processor; less is the idling of a runtime. */
const IDLE_MILLI = 20;

/** The samples of one agent, the oldest giving way, and whether it counts as stalled. */
export class Vitals {
  private readonly samples: Sample[] = [];
  private peakMemoryBytes = 0;
  private stalledBecause: string | null = null;

  constructor(private readonly agentId: AgentId) {}

  add(sample: Sample): void {
    this.samples.push(sample);
    if (this.samples.length > MOST_SAMPLES) this.samples.shift();
    this.peakMemoryBytes = Math.max(this.peakMemoryBytes, sample.memoryBytes);
  }

  /** Every sample that is kept, the oldest first, with the times of the clock. */
  all(): readonly Sample[] {
    return this.samples.map((sample) => ({ ...sample, atMs: clockAt(sample.atMs) }));
  }

  /** What is new about its progress; undefined where nothing is. @param progressAtMs when it did something last; as `nowMs` of `steadyNow` */
  judge(policy: StallPolicy | undefined, progressAtMs: number, nowMs: number): StallNotice | undefined {
    const silentMs = Math.max(0, nowMs - progressAtMs);
    const isStalled = policy !== undefined && silentMs >= policy.afterMs;
    if (isStalled === (this.stalledBecause !== null)) return undefined;
    this.stalledBecause = isStalled ? this.reason(silentMs, progressAtMs) : null;
    const [reason, action] = [this.stalledBecause ?? '', isStalled ? policy.action : 'none'] as const;
    const at = new Date(clockAt(nowMs)).toISOString();
    return { agentId: this.agentId, at, stalled: isStalled, silentMs, reason, action };
  }

  /** @param progressAtMs when it did something last. Undefined before the first sample. */
  view(progressAtMs: number): VitalsView | undefined {
    const [before, last] = [this.samples.at(-2), this.samples.at(-1)];
    if (last === undefined) return undefined;
    return {
      heartbeatAt: new Date(clockAt(last.atMs)).toISOString(),
      progressAt: new Date(clockAt(progressAtMs)).toISOString(),
      cpuMs: last.cpuMs,
      cpuMilli: before === undefined ? 0 : cpuMilli(before, last),
      memoryBytes: last.memoryBytes,
      peakMemoryBytes: this.peakMemoryBytes,
      processes: last.processes,
      stalled: this.stalledBecause,
    };
  }

  /** Waiting and spinning are told apart by what it has used since it did something last. */
  private reason(silentMs: number, progressAtMs: number): string {
    const silence = `No line and no answer of the model for ${String(Math.floor(silentMs / 1000))} s`;
    const last = this.samples.at(-1);
    const since = this.samples.find(({ atMs }) => atMs >= progressAtMs);
    if (last === undefined || since === undefined || since === last) return `${silence}.`;
    const milli = cpuMilli(since, last);
    if (milli < IDLE_MILLI) return `${silence}; its processes are idle.`;
    return `${silence}, while its processes use ${(milli / 1000).toFixed(2)} processors.`;
  }
}

/** Thousandths of a processor between two samples. */
function cpuMilli(from: Sample, to: Sample): number {
  return Math.max(0, Math.round(((to.cpuMs - from.cpuMs) * 1000) / Math.max(1, to.atMs - from.atMs)));
}
