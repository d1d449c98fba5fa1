import { Injectable } from '@nestjs/common';
import { type CommandRecord, isKill } from './command-record.js';
import { RecentMap } from './recent-map.js';

/** Settled commands that are kept for late receipts and for whoever asks; older ones are read from the database. */
const MOST_SETTLED = 1_000;

/** The commands that matter now: all that are pending, and the most recent of the others. Nothing here is the record. */
@Injectable()
export class CommandBook {
  private readonly pending = new Map<string, CommandRecord>();
  private readonly pendingByDigest = new Map<string, CommandRecord>();
  private readonly pendingByInstance = new Map<string, Map<string, CommandRecord>>();
  private readonly settled = new RecentMap<string, CommandRecord>(MOST_SETTLED);
  private readonly settledByDigest = new RecentMap<string, CommandRecord>(MOST_SETTLED);

  get(id: string): CommandRecord | undefined {
    return this.pending.get(id) ?? this.settled.get(id);
  }

  byDigest(digest: string): CommandRecord | undefined {
    return this.pendingByDigest.get(digest) ?? this.settledByDigest.get(digest);
  }

  /** What an instance has not yet acknowledged: kills first, then in the order in which they were issued. */
  pendingOf(instance: string): CommandRecord[] {
    const all = [...(this.pendingByInstance.get(instance)?.values() ?? [])];
    return [...all.filter(({ kind }) => isKill(kind)), ...all.filter(({ kind }) => !isKill(kind))];
  }

  pendingCount(instance: string): number {
    return this.pendingByInstance.get(instance)?.size ?? 0;
  }

  allPending(): CommandRecord[] {
    return [...this.pending.values()];
  }

  /** Takes up a command, or what became of it. */
  keep(record: CommandRecord): void {
    const { id, digest, instance } = record;
    if (record.state === 'PENDING') {
      this.pending.set(id, record);
      this.pendingByDigest.set(digest, record);
      this.pendingAt(instance).set(id, record);
      return;
    }
    if (this.pending.delete(id)) {
      this.pendingByDigest.delete(digest);
      this.pendingByInstance.get(instance)?.delete(id);
    }
    this.settled.set(id, record);
    this.settledByDigest.set(digest, record);
  }

  private pendingAt(instance: string): Map<string, CommandRecord> {
    const known = this.pendingByInstance.get(instance);
    if (known !== undefined) return known;
    const made = new Map<string, CommandRecord>();
    this.pendingByInstance.set(instance, made);
    return made;
  }
}
