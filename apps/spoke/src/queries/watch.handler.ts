import { type AgentWatch, create, LogPageSchema } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { LogWatches } from '../live-logs/log-watches.js';
import type { ReceiptResult } from '../receipts/receipt.signer.js';

/** Query agent.watch: begins, renews or ends the telling of an agent's log. */
@Injectable()
export class WatchHandler {
  constructor(private readonly watches: LogWatches) {}

  /** @throws WireFault `agent-unknown`, `queue-unavailable` */
  async answer(asked: AgentWatch): Promise<ReceiptResult> {
    if (asked.leaseMs === 0) this.watches.end(asked.watchId);
    else await this.watches.keep(asked);
    // The lines take one way only, or they could overtake each other.
    return { case: 'logs', value: create(LogPageSchema, { next: asked.after }) };
  }
}
