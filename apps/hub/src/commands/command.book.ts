import { Injectable } from '@nestjs/common';
import { type CommandRecord, isKill, isOpen } from './command-record.js';
import { RecentMap } from './recent-map.js';

/** Settled commands that are kept for late receipts and for whoever asks; older ones are read from the database. */
const MOST_SETTLED = 1_000;

/** The commands that matter now: all that are open, and the most recent of the others. Nothing here is the record. */
@Injectable()
export class CommandBook {
  private readonly open = new Map<string, CommandRecord>();
  /** Open commands that another replica has issued; that one fails them where they must be, unless it is gone. */
  private readonly foreign = new Set<string>();
  private readonly openByDigest = new Map<string, CommandRecord>();
  private readonly openByInstance = new Map<string, Map<string, CommandRecord>>();
  private readonly settled = new RecentMap<string, CommandRecord>(MOST_SETTLED);
  private readonly settledByDigest = new RecentMap<string, CommandRecord>(MOST_SETTLED);

  get(id: string): CommandRecord | undefined {
    return this.open.get(id) ?? this.settled.get(id);
  }

  isOpen(id: string): boolean {
    return this.open.has(id);
  }

  /** Whether it is open and another replica has issued it. */
  isForeign(id: string): boolean {
    return this.foreign.has(id);
  }

  byDigest(digest: string): CommandRecord | undefined {
    return this.openByDigest.get(digest) ?? this.settledByDigest.get(digest);
  }

  /** What an instance must still be told of: kills first, then in the order in which they were issued. */
  openOf(instance: string): CommandRecord[] {
    const all = [...(this.openByInstance.get(instance)?.values() ?? [])];
    return [...all.filter(({ kind }) => isKill(kind)), ...all.filter(({ kind }) => !isKill(kind))];
  }

  openCount(instance: string): number {
    return this.openByInstance.get(instance)?.size ?? 0;
  }

  allOpen(): CommandRecord[] {
    return [...this.open.values()];
  }

  /** Takes up a command that another replica has issued. */
  keepForeign(record: CommandRecord): void {
    if (isOpen(record)) this.foreign.add(record.id);
    this.keep(record);
  }

  /** Takes up a command, or what became of it. */
  keep(record: CommandRecord): void {
    const { id, digest, instance } = record;
    if (isOpen(record)) {
      this.open.set(id, record);
      this.openByDigest.set(digest, record);
      this.openAt(instance).set(id, record);
      return;
    }
    this.foreign.delete(id);
    if (this.open.delete(id)) {
      this.openByDigest.delete(digest);
      this.openByInstance.get(instance)?.delete(id);
    }
    this.settled.set(id, record);
    this.settledByDigest.set(digest, record);
  }

  private openAt(instance: string): Map<string, CommandRecord> {
    const known = this.openByInstance.get(instance);
    if (known !== undefined) return known;
    const made = new Map<string, CommandRecord>();
    this.openByInstance.set(instance, made);
    return made;
  }
}
