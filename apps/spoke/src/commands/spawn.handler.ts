import { type SpawnAgent, toHex, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { Ledger } from '../ledger/ledger.js';
import type { Reply } from '../link/reply.js';
import { OwnerPolicyFile } from '../policy/owner-policy.js';
import type { VerifiedOrder } from '../verify/verify-order.js';
import { acknowledgeRecorded } from './decided.js';
import { Refusals } from './refusals.js';
import { SpawnOfferer } from './spawn.offerer.js';

type SpawnOrder = VerifiedOrder<{ case: 'spawn'; value: SpawnAgent }>;

/** agent.spawn: policy, one atomic step, acknowledgement; then the orchestrator is offered the envelope. */
@Injectable()
export class SpawnHandler {
  constructor(
    private readonly policy: OwnerPolicyFile,
    private readonly ledger: Ledger,
    private readonly offerer: SpawnOfferer,
    private readonly refusals: Refusals,
    private readonly audit: Audit,
    private readonly config: SpokeConfig,
  ) {}

  async execute(order: SpawnOrder, reply: Reply): Promise<void> {
    const refusal = await this.judge(order);
    if (refusal !== undefined) return this.refusals.refuse(order, refusal, reply);
    const nowMs = this.config.now();
    const { id, issuer, agentId, digest } = order;
    const detail = { issuer, kind: 'spawn', agentId, digest: toHex(digest) };
    await this.audit.append({ kind: 'command.accepted', subject: id, detail });
    const recorded = await this.ledger.accept(order, nowMs);
    if (recorded.kind === 'agent-exists') return this.refusals.refuse(order, new WireFault('agent-exists'), reply);
    acknowledgeRecorded(recorded, digest, reply);
    if (recorded.kind === 'recorded') this.offerer.offer(this.ledger.offerOf(order, nowMs));
  }

  private async judge(order: SpawnOrder): Promise<WireFault | undefined> {
    try {
      await this.policy.check(order.body.value, order.tenant);
      return undefined;
    } catch (error) {
      if (error instanceof WireFault) return error;
      throw error;
    }
  }
}
