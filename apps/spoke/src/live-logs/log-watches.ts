import type { Link } from '@capstan/link';
import { type AgentWatch, type Rejection, toHex, WireFault } from '@capstan/protocol';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { ReceiptSigner } from '../receipts/receipt.signer.js';
import { LogWatch } from './log-watch.js';

const MOST_WATCHES = 64;
const LONGEST_LEASE_MS = 60_000;

/** Which logs are followed for the hub, and only as long as it asks; each ends with the link on which it was asked for. */
@Injectable()
export class LogWatches implements OnModuleDestroy {
  private readonly watches = new Map<string, LogWatch>();
  private link: Link | undefined;

  constructor(
    private readonly orchestrator: OrchestratorClient,
    private readonly signer: ReceiptSigner,
  ) {}

  /** A new link: whoever watches asks again on it, and says where to go on. */
  attach(link: Link): void {
    this.endAll();
    this.link = link;
    void link.closed.then(() => {
      if (this.link !== link) return;
      this.link = undefined;
      this.endAll();
    });
  }

  async onModuleDestroy(): Promise<void> {
    const ends = [...this.watches.values()].map(({ ended }) => ended);
    this.endAll();
    await Promise.all(ends);
  }

  /** Begins a watch, or lets it go on. @throws WireFault `agent-unknown`, `queue-unavailable`; LocalFault of the client */
  async keep({ agentId, watchId, after, leaseMs }: AgentWatch): Promise<void> {
    const lease = Math.min(leaseMs, LONGEST_LEASE_MS);
    if ((await this.orchestrator.status(agentId)) === undefined) throw new WireFault('agent-unknown', agentId);
    const known = this.watches.get(watchId);
    if (known !== undefined) {
      if (known.agentId !== agentId) throw new WireFault('payload-malformed', 'the watch is of another agent');
      known.renew(lease);
      return;
    }
    const { link, orchestrator, signer } = this;
    if (link === undefined || this.watches.size >= MOST_WATCHES)
      throw new WireFault('queue-unavailable', 'too many watches');
    const watch = new LogWatch({ link, orchestrator, signer }, agentId, watchId, after, lease);
    this.watches.set(watchId, watch);
    void watch.ended.then(() => {
      if (this.watches.get(watchId) === watch) this.watches.delete(watchId);
    });
  }

  end(watchId: string): void {
    this.watches.get(watchId)?.end();
    this.watches.delete(watchId);
  }

  /** Whether the hub's acknowledgement was of lines. */
  acknowledged(digest: Uint8Array): boolean {
    return this.answered(digest, false) !== undefined;
  }

  /** Whether the hub's rejection was of lines. One that a repetition cannot help says that nobody watches any more. */
  rejected({ digest, retryable }: Rejection): boolean {
    const watch = this.answered(digest, true);
    if (!retryable) watch?.end();
    return watch !== undefined;
  }

  private answered(digest: Uint8Array, isLost: boolean): LogWatch | undefined {
    if (this.watches.size === 0) return undefined;
    const hex = toHex(digest);
    return [...this.watches.values()].find((watch) => watch.answered(hex, isLost));
  }

  private endAll(): void {
    for (const watch of this.watches.values()) watch.end();
    this.watches.clear();
  }
}
