import { type SpawnAgent, toHex, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { GrantSpend } from '../grants/grant-spend.js';
import { Ledger } from '../ledger/ledger.js';
import type { Reply } from '../link/reply.js';
import { OwnerPolicyFile } from '../policy/owner-policy.js';
import { Secrets } from '../secrets/secrets.js';
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
    private readonly secrets: Secrets,
    private readonly spend: GrantSpend,
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
    if (recorded.kind === 'agent-exists') {
      await this.refusals.refuse(order, new WireFault('agent-exists'), reply);
      await this.spend.release(order);
      return;
    }
    acknowledgeRecorded(recorded, digest, reply);
    if (recorded.kind === 'recorded') this.offerer.offer(this.ledger.offerOf(order, nowMs));
  }

  private async judge(order: SpawnOrder): Promise<WireFault | undefined> {
    try {
      const limits = await this.policy.check(order.body.value, order.tenant);
      await this.secrets.check(order.body.value, order.key);
      if (order.grants !== undefined) await this.spend.reserve(order, order.grants, limits.budgetMicroUsd);
      return undefined;
    } catch (error) {
      if (error instanceof WireFault) return error;
      throw error;
    }
  }
}
