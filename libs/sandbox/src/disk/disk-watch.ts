import { lstat, statfs } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { signalHandle, type KillHandle } from '../kill/handle.js';
import type { DiskBreach, DiskUse, SandboxSpec } from '../port.js';
import { isDue, LEAST_PAUSE_MS } from './measuring-time.js';
import { measureNameless, measureTrees } from './measure.js';

const TICK_MS = 500;

/** What is watched, and what may be in it at most; plain data, so that a later owner of the sandbox can go on. */
export interface DiskTerms {
  /** Directories of the host that the agent may write. */
  directories: string[];
  bound: DiskUse;
}

/** The terms of a sandbox in which nothing has run yet; undefined where nothing is to be bounded, or it cannot be measured. Never rejects. */
export async function diskTermsOf({ mounts, limits }: SandboxSpec): Promise<DiskTerms | undefined> {
  const { diskBytes, diskEntries } = limits;
  if (diskBytes === undefined && diskEntries === undefined) return undefined;
  const directories = mounts.filter(({ mode }) => mode === 'rw').map(({ source }) => source);
  const before = directories.length === 0 ? NOTHING : await measureTrees(directories);
  if (before === undefined) return undefined;
  const bound = {
    bytes: Math.min(before.bytes + (diskBytes ?? Infinity), Number.MAX_SAFE_INTEGER),
    entries: Math.min(before.entries + (diskEntries ?? Infinity), Number.MAX_SAFE_INTEGER),
  };
  return { directories, bound };
}

/**
 * Measures in intervals what the agent has on the disk, and ends its sandbox where that is past the bound. What it writes
 * within one interval is not held up by anything.
 */
export class DiskWatch {
  private static watching = 0;
  private readonly stopped = new AbortController();
  private devices: number[] | undefined;
  private seen: DiskUse | undefined;
  private breach: DiskBreach | undefined;

  constructor(
    private readonly terms: DiskTerms,
    private readonly handle: KillHandle,
  ) {}

  /** As it was measured last. */
  get last(): DiskUse | undefined {
    return this.seen;
  }

  /** From GO on. */
  begin(): void {
    if (this.terms.directories.length === 0) return;
    DiskWatch.watching += 1;
    void this.watch().finally(() => (DiskWatch.watching -= 1));
  }

  /** The sandbox has ended. @returns why, where it was ended for this */
  end(): { overDisk?: DiskBreach } {
    this.stopped.abort();
    return this.breach === undefined ? {} : { overDisk: this.breach };
  }

  private async watch(): Promise<void> {
    const { signal } = this.stopped;
    for (let tookMs = 0, free = await this.freeBytes(); !signal.aborted;) {
      await this.untilDue(tookMs, free);
      free = await this.freeBytes();
      const beganMs = performance.now();
      await this.look().catch(() => undefined);
      tookMs = this.breach === undefined ? performance.now() - beganMs : 0;
    }
  }

  private async untilDue(tookMs: number, freeBytes: number): Promise<void> {
    const { signal } = this.stopped;
    const endedMs = performance.now();
    const isTime = async (): Promise<boolean> => {
      const sinceMs = performance.now() - endedMs;
      const leftBytes = this.terms.bound.bytes - (this.seen?.bytes ?? 0);
      const lostBytes = sinceMs < LEAST_PAUSE_MS ? 0 : freeBytes - (await this.freeBytes());
      return isDue({ sinceMs, tookMs, watching: DiskWatch.watching, lostBytes, leftBytes });
    };
    while (!signal.aborted && !(await isTime()))
      await delay(TICK_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }

  /** What the file systems of the directories have free; one that holds two of them counts twice, always. */
  private async freeBytes(): Promise<number> {
    const each = await Promise.all(this.terms.directories.map((it) => statfs(it).catch(() => undefined)));
    return each.reduce((sum, stats) => sum + (stats === undefined ? 0 : stats.bfree * stats.bsize), 0);
  }

  private async look(): Promise<void> {
    const { bound } = this.terms;
    const use = this.breach === undefined ? await this.measure() : undefined;
    if (this.stopped.signal.aborted) return;
    if (use !== undefined) {
      this.seen = use;
      if (use.bytes > bound.bytes || use.entries > bound.entries) this.breach = { use, bound };
    }
    // Again and again: one signal may not have reached all.
    if (this.breach !== undefined) await signalHandle(this.handle);
  }

  private async measure(): Promise<DiskUse | undefined> {
    const { directories, bound } = this.terms;
    const { signal } = this.stopped;
    this.devices ??= await Promise.all(directories.map(async (directory) => (await lstat(directory)).dev));
    const use = await measureTrees(directories, bound, signal);
    if (use === undefined || use.bytes > bound.bytes) return use;
    return { ...use, bytes: use.bytes + (await measureNameless(this.handle, this.devices, signal)) };
  }
}

const NOTHING: DiskUse = { bytes: 0, entries: 0 };
