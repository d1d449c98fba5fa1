import { envelopeDigest } from '@capstan/identity';
import { createLogger, metrics } from '@capstan/platform';
import { type AgentLogs, type Envelope, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import type { Reply } from '../link/reply.js';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { type ReceiptResult, ReceiptSigner } from '../receipts/receipt.signer.js';
import { verifyQuery } from '../verify/verify-order.js';

const DEFAULT_LINES = 500;
const MOST_LINES = 5_000;
const MOST_IN_HAND = 64;

/** Query agent.logs: answered from the orchestrator; nothing of it is stored, it may be asked again. */
@Injectable()
export class LogsHandler {
  private readonly log = createLogger('spoke.queries');
  private inHand = 0;

  constructor(
    private readonly identity: SpokeIdentity,
    private readonly config: SpokeConfig,
    private readonly orchestrator: OrchestratorClient,
    private readonly signer: ReceiptSigner,
    private readonly audit: Audit,
  ) {}

  /** Never throws. */
  async answer(envelope: Envelope, reply: Reply): Promise<void> {
    this.inHand += 1;
    try {
      if (this.inHand > MOST_IN_HAND) throw new WireFault('queue-unavailable', 'too many queries in hand');
      const nowMs = this.config.now();
      const { instanceId, hubKeys: keys } = this.identity;
      const query = verifyQuery(envelope, { instanceId, keys, nowMs });
      if (query.body.case !== 'logs') throw new WireFault('payload-malformed', `${query.body.case} is not served here`);
      const result = await this.page(query.body.value);
      const { id, issuer, agentId } = query;
      const detail = { issuer, kind: 'logs', agentId };
      if (result instanceof WireFault) {
        metrics.countRefusal(result.code);
        this.audit.note({ kind: 'query.refused', subject: id, detail: { ...detail, code: result.code } });
        reply.result(this.signer.refusal(query, nowMs, result));
        return;
      }
      this.audit.note({ kind: 'query.answered', subject: id, detail });
      reply.result(this.signer.receipt(query, nowMs, result));
    } catch (error) {
      const fault = error instanceof WireFault ? error : new WireFault('internal', 'query', { cause: error });
      metrics.countRefusal(fault.code);
      this.log.warn({ err: error, msg: 'query rejected', code: fault.code });
      reply.reject(envelopeDigest(envelope), fault);
    } finally {
      this.inHand -= 1;
    }
  }

  private async page({ agentId, after, limit }: AgentLogs): Promise<ReceiptResult | WireFault> {
    try {
      const lines = limit === 0 ? DEFAULT_LINES : Math.min(limit, MOST_LINES);
      const page = await this.orchestrator.logs(agentId, after, lines);
      return page === undefined ? new WireFault('agent-unknown', agentId) : { case: 'logs', value: page };
    } catch (cause) {
      return cause instanceof WireFault ? cause : new WireFault('orchestrator-lost', undefined, { cause });
    }
  }
}
