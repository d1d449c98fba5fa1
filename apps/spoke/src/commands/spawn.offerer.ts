import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger, metrics } from '@capstan/platform';
import { type AgentSnapshot, type Envelope, WireFault } from '@capstan/protocol';
import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { GrantSpend } from '../grants/grant-spend.js';
import { Ledger, type Offer } from '../ledger/ledger.js';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { ReceiptSigner } from '../receipts/receipt.signer.js';
import { outboxItem } from '../receipts/signed-item.js';
import { Secrets } from '../secrets/secrets.js';

const PAUSE = { minMs: 50, maxMs: 5_000 };
/** Offers under way at once; the others wait in the ledger. */
const MOST_AT_ONCE = 32;

/**
 * Offers accepted spawns to the orchestrator until it has taken or finally refused each. What is still to be offered
 * stands in the ledger, so it goes on after a restart. Offering twice is harmless: the agent's id makes it one.
 */
@Injectable()
export class SpawnOfferer implements BeforeApplicationShutdown {
  private readonly log = createLogger('spoke.offers');
  private readonly stopping = new AbortController();
  private readonly underWay = new Map<string, { agentId: string; ended: Promise<void> }>();

  constructor(
    private readonly ledger: Ledger,
    private readonly orchestrator: OrchestratorClient,
    private readonly signer: ReceiptSigner,
    private readonly outbox: OutboxSender,
    private readonly audit: Audit,
    private readonly secrets: Secrets,
    private readonly grants: GrantSpend,
  ) {}

  /** Begins to offer, unless this one is offered already or too many are: the sweep finds it later. */
  offer(offer: Offer): void {
    const { key, order } = offer;
    if (this.stopping.signal.aborted || this.underWay.has(key) || this.underWay.size >= MOST_AT_ONCE) return;
    const ended = this.pursue(offer)
      .catch((error: unknown) => this.log.error({ err: error, msg: 'an offer was given up until the next sweep' }))
      .finally(() => this.underWay.delete(key));
    this.underWay.set(key, { agentId: order.agentId, ended });
  }

  /** Offers what the ledger holds and is not under way. @throws WireFault queue-unavailable */
  async sweep(): Promise<void> {
    for (const offer of await this.ledger.offers()) this.offer(offer);
  }

  /** The end of an offer of this agent that is under way. */
  ofAgent(agentId: string): Promise<void> | undefined {
    return [...this.underWay.values()].find((offer) => offer.agentId === agentId)?.ended;
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopping.abort();
    await Promise.all([...this.underWay.values()].map(({ ended }) => ended));
  }

  private async pursue(offer: Offer): Promise<void> {
    const { signal } = this.stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const outcome = await this.attempt(offer);
        await this.settle(offer, outcome);
        return;
      } catch (error) {
        this.log.warn({ err: error, msg: 'the orchestrator has not taken a spawn yet', agentId: offer.order.agentId });
      }
      const ceiling = Math.min(PAUSE.maxMs, PAUSE.minMs * 2 ** Math.min(attempt, 10));
      await sleep(ceiling / 2 + (Math.random() * ceiling) / 2, undefined, { signal }).catch(() => undefined);
    }
  }

  private async attempt({ order, envelope, admission }: Offer): Promise<AgentSnapshot | WireFault> {
    try {
      return await this.orchestrator.spawn(envelope, this.secrets.ofTaken(envelope), admission);
    } catch (error) {
      if (!(error instanceof WireFault)) throw error;
      // It may have taken the spawn in time and its answer been lost.
      const taken = error.code === 'expired' ? await this.orchestrator.status(order.agentId) : undefined;
      return taken ?? error;
    }
  }

  private async settle(offer: Offer, outcome: AgentSnapshot | WireFault): Promise<void> {
    const { order } = offer;
    const isRefused = outcome instanceof WireFault;
    if (isRefused) metrics.countRefusal(outcome.code);
    const kind = isRefused ? 'spawn.refused' : 'spawn.taken';
    const detail = { issuer: order.issuer, agentId: order.agentId, ...(isRefused ? { code: outcome.code } : {}) };
    const position = await this.audit.append({ kind, subject: order.id, detail });
    const envelope: Envelope = isRefused
      ? this.signer.refusal(order, offer.acceptedAtMs, outcome, position)
      : this.signer.receipt(order, offer.acceptedAtMs, { case: 'spawned', value: outcome }, position);
    const receipt = outboxItem('results', envelope);
    if (await this.ledger.settle(offer, receipt, isRefused)) this.outbox.offer(receipt);
    if (isRefused) await this.grants.release(order);
  }
}
