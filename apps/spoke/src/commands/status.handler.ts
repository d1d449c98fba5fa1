import { setTimeout as sleep } from 'node:timers/promises';
import { type AgentSnapshot, type AgentStatus, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { Ledger } from '../ledger/ledger.js';
import type { Reply } from '../link/reply.js';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { ReceiptSigner } from '../receipts/receipt.signer.js';
import { outboxItem } from '../receipts/signed-item.js';
import type { VerifiedOrder } from '../verify/verify-order.js';
import { acknowledgeRecorded } from './decided.js';
import { Refusals } from './refusals.js';
import { SpawnOfferer } from './spawn.offerer.js';

/** How long a status waits for the spawn of its agent to reach the orchestrator. */
const OFFER_MS = 5_000;

type StatusOrder = VerifiedOrder<{ case: 'status'; value: AgentStatus }>;

/** agent.status: it changes nothing, so replay mark and answer are one step. */
@Injectable()
export class StatusHandler {
  constructor(
    private readonly orchestrator: OrchestratorClient,
    private readonly offerer: SpawnOfferer,
    private readonly ledger: Ledger,
    private readonly signer: ReceiptSigner,
    private readonly outbox: OutboxSender,
    private readonly refusals: Refusals,
    private readonly audit: Audit,
    private readonly config: SpokeConfig,
  ) {}

  async execute(order: StatusOrder, reply: Reply): Promise<void> {
    const nowMs = this.config.now();
    const { id, issuer, agentId } = order;
    const entry = { kind: 'command.answered', subject: id, detail: { issuer, kind: 'status', agentId } };
    const [answer, position] = await Promise.all([this.ask(agentId), this.audit.append(entry)]);
    if (answer instanceof WireFault) return this.refusals.refuse(order, answer, reply);
    const receipt = outboxItem(
      'results',
      this.signer.receipt(order, nowMs, { case: 'status', value: answer }, position),
    );
    const recorded = await this.ledger.conclude(order, nowMs, receipt);
    // The receipt, which is on disk with the replay mark, is the acknowledgement.
    if (recorded.kind === 'recorded') this.outbox.offer(receipt);
    else acknowledgeRecorded(recorded, order.digest, reply);
  }

  private async ask(agentId: string): Promise<AgentSnapshot | WireFault> {
    try {
      const answer = await this.orchestrator.status(agentId);
      if (answer !== undefined) return answer;
      // Its spawn may be on its way to the orchestrator at this moment.
      const offered = this.offerer.ofAgent(agentId);
      if (offered === undefined) return new WireFault('agent-unknown', agentId);
      await Promise.race([offered, sleep(OFFER_MS, undefined, { ref: false })]);
      return (await this.orchestrator.status(agentId)) ?? new WireFault('agent-unknown', agentId);
    } catch (cause) {
      return cause instanceof WireFault ? cause : new WireFault('orchestrator-lost', undefined, { cause });
    }
  }
}
