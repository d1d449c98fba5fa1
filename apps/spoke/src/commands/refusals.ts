import { metrics } from '@capstan/platform';
import type { WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { Ledger } from '../ledger/ledger.js';
import type { Reply } from '../link/reply.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { ReceiptSigner } from '../receipts/receipt.signer.js';
import { outboxItem } from '../receipts/signed-item.js';
import type { VerifiedCommand } from '../verify/verify-order.js';
import { acknowledgeRecorded } from './decided.js';

/** Refuses verified commands: with a signed receipt, kept in the ledger, so that the same command stays refused. */
@Injectable()
export class Refusals {
  constructor(
    private readonly ledger: Ledger,
    private readonly signer: ReceiptSigner,
    private readonly outbox: OutboxSender,
    private readonly audit: Audit,
    private readonly config: SpokeConfig,
  ) {}

  async refuse(order: VerifiedCommand, fault: WireFault, reply: Reply): Promise<void> {
    metrics.countRefusal(fault.code);
    const nowMs = this.config.now();
    const { id, issuer, agentId, body } = order;
    const detail = { issuer, kind: body.case, agentId, code: fault.code };
    const position = await this.audit.append({ kind: 'command.refused', subject: id, detail });
    const receipt = outboxItem('results', this.signer.refusal(order, nowMs, fault, position));
    const recorded = await this.ledger.conclude(order, nowMs, receipt);
    // The receipt, which is on disk with the replay mark, is the acknowledgement.
    if (recorded.kind === 'recorded') this.outbox.offer(receipt);
    else acknowledgeRecorded(recorded, order.digest, reply);
  }
}
