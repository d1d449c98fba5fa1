import { type RearmResult, ReaperClient } from '@capstan/platform';
import { create, isFaultCode, RearmResultSchema, type RearmScope, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { acknowledgeRecorded } from '../commands/decided.js';
import { Refusals } from '../commands/refusals.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { Ledger } from '../ledger/ledger.js';
import type { Reply } from '../link/reply.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { ReceiptSigner } from '../receipts/receipt.signer.js';
import { outboxItem } from '../receipts/signed-item.js';
import type { VerifiedOrder } from '../verify/verify-order.js';
import { KillEpochs } from './kill-epochs.js';
import { scopeName } from './reaping.js';

type RearmOrder = VerifiedOrder<{ case: 'rearm'; value: RearmScope }>;

/**
 * agent.rearm: the reaper decides, by the epoch that the order names. Nothing is urgent about it, so that it goes the
 * way of other commands; repeated before its outcome was stored, it has the same effect.
 */
@Injectable()
export class RearmHandler {
  constructor(
    private readonly reaper: ReaperClient,
    private readonly epochs: KillEpochs,
    private readonly ledger: Ledger,
    private readonly signer: ReceiptSigner,
    private readonly outbox: OutboxSender,
    private readonly refusals: Refusals,
    private readonly audit: Audit,
    private readonly config: SpokeConfig,
  ) {}

  /** @throws WireFault `queue-unavailable`; LocalFault where the reaper does not answer: the hub asks again */
  async execute(order: RearmOrder, reply: Reply): Promise<void> {
    const nowMs = this.config.now();
    const { id, issuer, digest } = order;
    const { scope, scopeId, epoch } = order.body.value;
    const detail = { issuer, scope: scopeName(scope), scopeId, epoch: String(epoch), by: order.header.onBehalfOf };
    // What lets agents start again is on paper before it holds.
    const position = await this.audit.append({ kind: 'rearm.ordered', subject: id, detail });
    const done = await this.reaper.rearm({ scope: scopeName(scope), scopeId, epoch, command: { issuer, id } });
    this.epochs.refresh();
    if (!done.ok) return this.refusals.refuse(order, refusal(done), reply);
    const result = { case: 'rearmed', value: create(RearmResultSchema, { epoch: done.epoch }) } as const;
    const receipt = outboxItem('results', this.signer.receipt(order, nowMs, result, position));
    const recorded = await this.ledger.conclude(order, nowMs, receipt);
    if (recorded.kind === 'recorded') this.outbox.offer(receipt);
    else acknowledgeRecorded(recorded, digest, reply);
  }
}

function refusal({ code }: Extract<RearmResult, { ok: false }>): WireFault {
  return new WireFault(isFaultCode(code) ? code : 'internal', 'the reaper');
}
