import { setTimeout as sleep } from 'node:timers/promises';
import { envelopeDigest } from '@capstan/identity';
import type { Link } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import { create, LinkMessageSchema, type LogPage, toHex } from '@capstan/protocol';
import type { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import type { ReceiptSigner } from '../receipts/receipt.signer.js';

/** Of one event; a page that reaches one of them is full, and more is there. */
const BATCH_LINES = 1_000;
const BATCH_BYTES = 128 * 1_024;
/** Lines that come within this time go together: one signature for all of them. */
const COALESCE_MS = 100;
/** Events that the hub has not answered. */
const WINDOW = 4;
const WAIT_MS = 5_000;
const AWAY_PAUSE_MS = 500;

export interface LogWatchParts {
  link: Link;
  orchestrator: OrchestratorClient;
  signer: ReceiptSigner;
}

/**
 * Tells one reader at the hub what an agent's log holds, in order. Nothing is kept here: what waits, waits in the
 * orchestrator's bounded log, whose oldest lines give way; the next page then begins later and says `gap`.
 */
export class LogWatch {
  private readonly log = createLogger('spoke.live-logs');
  private readonly stopping = new AbortController();
  private readonly unanswered = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private hasLost = false;
  private wake: () => void = () => undefined;
  /** Settles when the watch has ended; never rejects. */
  readonly ended: Promise<void>;

  constructor(
    private readonly parts: LogWatchParts,
    readonly agentId: string,
    private readonly watchId: string,
    after: bigint,
    leaseMs: number,
  ) {
    this.renew(leaseMs);
    this.ended = this.run(after).catch((error: unknown) => {
      this.log.debug({ err: error, agent: agentId, msg: 'a watch has ended' });
    });
    void this.ended.then(() => clearTimeout(this.timer));
  }

  /** Goes on for so long from now. */
  renew(leaseMs: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.end(), leaseMs);
  }

  end(): void {
    clearTimeout(this.timer);
    this.stopping.abort();
    this.wake();
  }

  /** The hub has taken an event, or lost it: whether it was one of this watch. */
  answered(digest: string, isLost: boolean): boolean {
    if (!this.unanswered.delete(digest)) return false;
    this.hasLost ||= isLost;
    this.wake();
    return true;
  }

  private async run(after: bigint): Promise<void> {
    const { signal } = this.stopping;
    let next = after;
    while (!signal.aborted) {
      // Room first, lines then: they are read no earlier than they can be sent.
      while (this.unanswered.size >= WINDOW && !signal.aborted) await this.news();
      const page = await this.page(next, signal);
      if (page === 'gone' || signal.aborted) return;
      if (page === undefined || page.lines.length === 0) continue;
      await this.send(page);
      next = page.next;
      if (!isFull(page)) await sleep(COALESCE_MS, undefined, { signal });
    }
  }

  /** Undefined where the orchestrator is away for the moment. */
  private async page(after: bigint, signal: AbortSignal): Promise<LogPage | 'gone' | undefined> {
    const limits = { limit: BATCH_LINES, mostBytes: BATCH_BYTES, waitMs: WAIT_MS, signal };
    try {
      return (await this.parts.orchestrator.nextLogs(this.agentId, after, limits)) ?? 'gone';
    } catch {
      await sleep(AWAY_PAUSE_MS, undefined, { signal });
      return undefined;
    }
  }

  private async send(page: LogPage): Promise<void> {
    const told = this.hasLost ? { ...page, gap: true } : page;
    this.hasLost = false;
    const value = this.parts.signer.logsAppended(this.agentId, this.watchId, told);
    this.unanswered.add(toHex(envelopeDigest(value)));
    await this.parts.link.send('events', create(LinkMessageSchema, { body: { case: 'envelope', value } }));
  }

  private news(): Promise<void> {
    return new Promise((resolve) => (this.wake = resolve));
  }
}

function isFull({ lines }: LogPage): boolean {
  if (lines.length >= BATCH_LINES) return true;
  // The line that did not fit any more may have been a long one.
  return lines.reduce((sum, { text }) => sum + Buffer.byteLength(text) + 64, 0) > BATCH_BYTES / 2;
}
