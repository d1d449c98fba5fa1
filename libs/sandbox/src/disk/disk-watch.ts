import { lstat, statfs } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { signalHandle, type KillHandle } from '../kill/handle.js';
import { thawLeftover, whileStill } from '../kill/standstill.js';
import type { DiskBreach, DiskUse, SandboxSpec, SandboxWarning } from '../port.js';
import { isDue, LEAST_PAUSE_MS, LONGEST_PAUSE_MS } from './measuring-time.js';
import { measureNameless, measureTrees } from './measure.js';
import { PriorityMutex } from './priority-mutex.js';
import { Proof } from './proof.js';
import type { DiskTerms } from './terms.js';

const TICK_MS = 500;
/** An agent waits for no measurement longer than this. */
const LONGEST_STANDSTILL_MS = 5_000;
const FAILURES_TOLD = 3;

/** Watches what agents have on the disk; one for all drivers of an instance, whose measurements take turns. */
export class DiskWatcher {
  /** Agents that are watched now. */
  watching = 0;
  /** At a measurement; who has least left comes first. */
  readonly turns = new PriorityMutex(LONGEST_PAUSE_MS);

  /** @param warn is told what keeps an agent from being bounded; without it, it stands on the standard error. */
  constructor(readonly warn: (warning: SandboxWarning) => void = emitWarning) {}

  /**
   * The terms of a sandbox in which nothing has run yet; undefined where nothing is to be bounded, or, with a warning, where
   * what is there already cannot be counted to its end: a later look that could would end an innocent. Never rejects.
   */
  async termsOf({ agentId, mounts, limits }: SandboxSpec): Promise<DiskTerms | undefined> {
    const { diskBytes, diskEntries } = limits;
    if (diskBytes === undefined && diskEntries === undefined) return undefined;
    const directories = mounts.filter(({ mode }) => mode === 'rw').map(({ source }) => source);
    const before = directories.length === 0 ? NOTHING : await measureTrees(directories).catch(() => undefined);
    if (before === undefined) {
      const sentence = 'What the agent finds on the disk could not be counted: what it adds to it is not watched.';
      this.warn({ agentId, sentence });
      return undefined;
    }
    const bound = {
      bytes: Math.min(before.bytes + (diskBytes ?? Infinity), Number.MAX_SAFE_INTEGER),
      entries: Math.min(before.entries + (diskEntries ?? Infinity), Number.MAX_SAFE_INTEGER),
    };
    return { directories, bound };
  }
}

/**
 * Measures in intervals what the agent has on the disk, and ends its sandbox where that is past the bound. What it writes
 * within one interval is not held up by anything.
 *
 * A look at a tree that changes can count the same file twice, or not at all. So an agent that has more than half of what it
 * may stands still meanwhile, where that can be had, and nobody is ended for one look.
 */
export class DiskWatch {
  private readonly stopped = new AbortController();
  private devices: number[] | undefined;
  private seen: DiskUse | undefined;
  private tookMs = 0;
  private failures = 0;
  private readonly proof = new Proof();
  private breach: DiskBreach | undefined;
  private isUnsignalled = false;

  constructor(
    private readonly watcher: DiskWatcher,
    private readonly agentId: string,
    private readonly terms: DiskTerms,
    private readonly handle: KillHandle,
  ) {}

  /** As it was measured last. */
  get last(): DiskUse | undefined {
    return this.seen;
  }

  /** From GO on, or from the adoption on. */
  begin(): void {
    if (this.terms.directories.length === 0) return;
    thawLeftover(this.handle.cgroup);
    this.watcher.watching += 1;
    void this.watch().finally(() => (this.watcher.watching -= 1));
  }

  /** The sandbox has ended. @returns why, where it was ended for this */
  end(): { overDisk?: DiskBreach } {
    this.stopped.abort();
    return this.breach === undefined ? {} : { overDisk: this.breach };
  }

  private async watch(): Promise<void> {
    const { signal } = this.stopped;
    for (let free = await this.freeBytes(); !signal.aborted;) {
      const isToBeProven = this.proof.isBegun && this.failures === 0 && this.breach === undefined;
      if (!isToBeProven) await this.untilDue(free);
      free = await this.freeBytes();
      await this.look();
    }
  }

  private async untilDue(freeBytes: number): Promise<void> {
    const { signal } = this.stopped;
    const endedMs = performance.now();
    const isTime = async (): Promise<boolean> => {
      const sinceMs = performance.now() - endedMs;
      const lostBytes = sinceMs < LEAST_PAUSE_MS ? 0 : freeBytes - (await this.freeBytes());
      const { leftBytes } = this;
      const tookMs = this.breach === undefined ? this.tookMs : 0;
      return isDue({ sinceMs, tookMs, watching: this.watcher.watching, lostBytes, leftBytes });
    };
    while (!signal.aborted && !(await isTime()))
      await delay(TICK_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }

  private get leftBytes(): number {
    return this.terms.bound.bytes - (this.seen?.bytes ?? 0);
  }

  /** What the file systems of the directories have free; one that holds two of them counts twice, always. */
  private async freeBytes(): Promise<number> {
    const each = await Promise.all(this.terms.directories.map((it) => statfs(it).catch(() => undefined)));
    return each.reduce((sum, stats) => sum + (stats === undefined ? 0 : stats.bfree * stats.bsize), 0);
  }

  /** Never rejects. */
  private async look(): Promise<void> {
    try {
      if (this.breach === undefined) await this.watcher.turns.take(this.leftBytes, () => this.judge());
      if (this.stopped.signal.aborted) return;
      // Again and again: one signal may not have reached all.
      if (this.breach !== undefined) await signalHandle(this.handle);
      this.isUnsignalled = false;
    } catch (cause) {
      // Said once, however often it is tried.
      if (!this.isUnsignalled) this.warn('An agent past its bound on the disk could not be ended yet.', cause);
      this.isUnsignalled = true;
    }
  }

  private async judge(): Promise<void> {
    if (this.stopped.signal.aborted) return;
    const { bound } = this.terms;
    const group = isPast(this.seen ?? NOTHING, bound, 0.5) ? this.handle.cgroup : '';
    const beganMs = performance.now();
    const measured = await whileStill(group, LONGEST_STANDSTILL_MS, () => this.measure().catch(() => undefined));
    this.tookMs = performance.now() - beganMs;
    if (this.stopped.signal.aborted) return;
    const { result: use, still } = measured;
    this.noteFailure(use === undefined);
    if (use === undefined) return;
    this.seen = use;
    if (this.proof.add(isPast(use, bound), still)) this.breach = { use, bound };
  }

  private noteFailure(hasFailed: boolean): void {
    this.failures = hasFailed ? this.failures + 1 : 0;
    if (this.failures !== FAILURES_TOLD) return;
    this.warn(`What lies in ${this.terms.directories.join(', ')} cannot be counted: nothing bounds it meanwhile.`);
  }

  private warn(sentence: string, cause?: unknown): void {
    this.watcher.warn({ agentId: this.agentId, sentence, cause });
  }

  private async measure(): Promise<DiskUse | undefined> {
    const { directories, bound } = this.terms;
    const { signal } = this.stopped;
    this.devices ??= await Promise.all(directories.map(async (directory) => (await lstat(directory)).dev));
    const use = await measureTrees(directories, bound, signal);
    if (use === undefined || isPast(use, bound)) return use;
    const nameless = await measureNameless(this.handle, this.devices, signal);
    return nameless === undefined ? undefined : { ...use, bytes: use.bytes + nameless };
  }
}

function isPast(use: DiskUse, bound: DiskUse, share = 1): boolean {
  return use.bytes > share * bound.bytes || use.entries > share * bound.entries;
}

function emitWarning({ agentId, sentence }: SandboxWarning): void {
  process.emitWarning(`${sentence} (agent ${agentId})`, 'CapstanDiskWarning');
}

const NOTHING: DiskUse = { bytes: 0, entries: 0 };
