import { readdirSync, readFileSync } from 'node:fs';
import type { Fault } from '../plan/schedule.ts';
import type { ChaosMesh } from './chaos-mesh.ts';

/** After a fault is over its part starts, dials or catches up; what is asked meanwhile was asked during the fault. */
const RECOVERY_MS = 8000;

/** Brings faults about, heals them, and remembers when there were which. */
export class Weather {
  private readonly spells: { name: string; from: number; until: number }[] = [];
  private readonly stopped = new Set<number>();
  private readonly stage: ChaosMesh;

  constructor(stage: ChaosMesh) {
    this.stage = stage;
  }

  /** Resolves when the fault is over. */
  async bring(fault: Fault): Promise<void> {
    const lasts = fault.kind === 'kill' ? 0 : fault.forMs;
    this.spells.push({ name: nameOf(fault), from: Date.now(), until: Date.now() + lasts });
    if (fault.kind === 'kill') return this.strike(fault.target);
    if (fault.kind === 'freeze') return this.freeze(fault.target, fault.forMs);
    if (fault.kind === 'clock') return this.jump(fault.target, fault.byMs, fault.forMs);
    const wires = this.stage.wires.get(fault.instance) ?? [];
    for (const wire of wires) wire.spoil(fault);
    await passing(fault.forMs);
    for (const wire of wires) wire.mend();
  }

  /** Names of the faults that were felt between two times. */
  during(from: number, until: number): string[] {
    const felt = this.spells.filter((spell) => spell.from <= until && spell.until + RECOVERY_MS >= from);
    return [...new Set(felt.map(({ name }) => name))];
  }

  /** Ends whatever still holds. */
  clear(): void {
    for (const pid of this.stopped) signal(pid, 'SIGCONT');
    for (const wire of [...this.stage.wires.values()].flat()) wire.mend();
    this.stage.clocks?.clear();
  }

  private strike(target: string): void {
    const pid = this.stage.pidOf(target);
    if (pid !== undefined) signal(pid, 'SIGKILL');
  }

  private async jump(target: string, byMs: number, forMs: number): Promise<void> {
    this.stage.clocks?.set(target, byMs);
    await passing(forMs);
    this.stage.clocks?.set(target, 0);
  }

  private async freeze(target: string, forMs: number): Promise<void> {
    const pid = this.stage.pidOf(target);
    if (pid === undefined) return;
    // PostgreSQL answers from a process for each connection.
    const pids = [pid, ...childrenOf(pid)];
    for (const each of pids) {
      this.stopped.add(each);
      signal(each, 'SIGSTOP');
    }
    await passing(forMs);
    for (const each of pids) {
      signal(each, 'SIGCONT');
      this.stopped.delete(each);
    }
  }
}

export function nameOf(fault: Fault): string {
  if (fault.kind === 'clock') return `clock ${fault.target} ${fault.byMs < 0 ? '' : '+'}${String(fault.byMs / 1000)}s`;
  return `${fault.kind} ${'target' in fault ? fault.target : fault.instance}`;
}

function passing(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch {
        return false;
      }
    });
}
