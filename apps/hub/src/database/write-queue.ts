import type pg from 'pg';
import type { AuditEntry } from '../audit/audit-chain.js';
import type { RecordChange } from './record-change.js';

/** A change that waits for its turn. */
export interface QueuedChange {
  readonly change: RecordChange;
  /** Kept and tried again while the database is away; else refused, so that its caller can say so. */
  readonly isKept: boolean;
  readonly settle: PromiseWithResolvers<void>;
}

/** A rare piece of work that needs a transaction of its own, in turn with the changes because it too writes audit. */
export interface QueuedWork {
  readonly work: (client: pg.Client) => Promise<readonly AuditEntry[]>;
  readonly settle: PromiseWithResolvers<void>;
}

export type Queued = QueuedChange | QueuedWork;

/** Bounds one statement; at about 1 kB a change that is a quarter of a megabyte. */
const MOST_IN_BATCH = 256;

/** Changes and works in the order in which they came. */
export class WriteQueue {
  private items: Queued[] = [];

  get length(): number {
    return this.items.length;
  }

  push(item: Queued): void {
    this.items.push(item);
  }

  /** What was taken and could not be written, back to where it was. */
  putBack(items: readonly Queued[]): void {
    this.items = [...items, ...this.items];
  }

  /** The next work alone, or the next changes that can go in one statement. */
  take(): QueuedWork | QueuedChange[] {
    const [first] = this.items;
    if (first !== undefined && 'work' in first) {
      this.items.shift();
      return first;
    }
    const batch = this.batch();
    this.items.splice(0, batch.length);
    return batch;
  }

  drain(): Queued[] {
    const all = this.items;
    this.items = [];
    return all;
  }

  private batch(): QueuedChange[] {
    const batch: QueuedChange[] = [];
    const inserted = new Set<string>();
    for (const item of this.items) {
      if (batch.length >= MOST_IN_BATCH || 'work' in item) break;
      const { command, move, receipt } = item.change;
      // The parts of one statement do not see each other's rows.
      if (inserted.has(move?.id ?? '') || inserted.has(receipt?.command_id ?? '')) break;
      if (command !== undefined) inserted.add(command.id);
      batch.push(item);
    }
    return batch;
  }
}
