import type { CommandRecord } from '../commands/command-record.js';
import { OTHERS_MS } from '../commands/outbox.js';
import { type Scope, scopeKey } from './kill-scope.js';

/** So long at most, which is longer than the replica that has ordered it pauses between its corrections. */
const MOST_DOUBLINGS = 8;

/** A kill-all of another replica whose number was refused. */
export interface ForeignRefusal {
  readonly record: CommandRecord;
  /** How many orders of this scope were refused so far. */
  readonly attempt: number;
  /** When, milliseconds of a steady clock. */
  readonly sinceMs: number;
}

/**
 * Kill-alls of other replicas whose number the reaper has refused. Whoever has ordered one corrects it with the next
 * heartbeat; where he has not in time, he is gone. He corrects ever more rarely, so he has ever more time.
 */
export class ForeignRefusals {
  private readonly byScope = new Map<string, ForeignRefusal>();

  /** @param nowMs milliseconds of a steady clock */
  note(record: CommandRecord, scope: Scope, nowMs: number): void {
    const key = scopeKey(record.instance, scope);
    const last = this.byScope.get(key);
    if (last?.record.id === record.id) return;
    this.byScope.set(key, { record, attempt: (last?.attempt ?? 0) + 1, sinceMs: nowMs });
  }

  /** Those of an instance that nobody else corrects any more. */
  orphaned(instance: string, nowMs: number): ForeignRefusal[] {
    const own = [...this.byScope.values()].filter(({ record }) => record.instance === instance);
    return own.filter(
      ({ attempt, sinceMs }) => nowMs - sinceMs >= OTHERS_MS * 2 ** Math.min(attempt - 1, MOST_DOUBLINGS),
    );
  }

  /** One order of the scope was obeyed. */
  settled(instance: string, scope: Scope): void {
    this.byScope.delete(scopeKey(instance, scope));
  }
}
