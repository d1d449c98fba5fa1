import { RecentMap } from '../commands/recent-map.js';
import type { HubEvent } from './hub-event.js';

/** Agents and receipts that one stream remembers. */
const MOST = 10_000;

/**
 * Lets nothing pass twice on one stream. An instance repeats what it has not heard acknowledged, and the record keeps
 * both; a reader sees each revision of an agent once and in order, and each receipt once.
 */
export class OnceTold {
  private readonly revisions = new RecentMap<string, number>(MOST);
  private readonly receipts = new RecentMap<string, true>(MOST);

  isNew({ kind, subject, detail }: HubEvent): boolean {
    const { revision, receipt } = detail;
    if (kind === 'agent.reported' && typeof revision === 'number') {
      if (revision <= (this.revisions.get(subject) ?? -1)) return false;
      this.revisions.set(subject, revision);
    }
    if (kind === 'receipt.stored' && typeof receipt === 'string') {
      if (this.receipts.has(receipt)) return false;
      this.receipts.set(receipt, true);
    }
    return true;
  }
}
