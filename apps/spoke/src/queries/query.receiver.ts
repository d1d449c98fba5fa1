import { envelopeDigest } from '@capstan/identity';
import { createLogger, metrics } from '@capstan/platform';
import { type Envelope, LocalFault, type QueryBody, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { OwnerWishes } from '../connection/owner-wishes.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import type { Reply } from '../link/reply.js';
import { type ReceiptResult, ReceiptSigner } from '../receipts/receipt.signer.js';
import { verifyQuery } from '../verify/verify-order.js';
import { AgentsHandler } from './agents.handler.js';
import { CatalogHandler } from './catalog.handler.js';
import { LogsHandler } from './logs.handler.js';
import { WatchHandler } from './watch.handler.js';

const MOST_IN_HAND = 64;

/**
 * Takes a query through signature, strict decode and header, and answers it with a signed receipt. Nothing of it is
 * stored: it changes nothing and may be asked again.
 */
@Injectable()
export class QueryReceiver {
  private readonly log = createLogger('spoke.queries');
  private inHand = 0;

  constructor(
    private readonly identity: SpokeIdentity,
    private readonly config: SpokeConfig,
    private readonly signer: ReceiptSigner,
    private readonly audit: Audit,
    private readonly logs: LogsHandler,
    private readonly catalog: CatalogHandler,
    private readonly agents: AgentsHandler,
    private readonly watches: WatchHandler,
    private readonly wishes: OwnerWishes,
  ) {}

  /** Resolves when the query was answered or refused; never throws. */
  async receive(envelope: Envelope, reply: Reply): Promise<void> {
    this.inHand += 1;
    try {
      if (this.inHand > MOST_IN_HAND) throw new WireFault('queue-unavailable', 'too many queries in hand');
      const nowMs = this.config.now();
      const { instanceId, hubKeys: keys } = this.identity;
      const query = verifyQuery(envelope, { instanceId, keys, nowMs });
      this.wishes.checkOpen();
      const result = await this.result(query.body);
      const { id, issuer, agentId, body } = query;
      const detail = { issuer, kind: body.case, agentId };
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

  private async result(body: QueryBody): Promise<ReceiptResult | WireFault> {
    try {
      return await this.answer(body);
    } catch (cause) {
      if (cause instanceof WireFault) return cause;
      const isAway = cause instanceof LocalFault && cause.code === 'orchestrator-away';
      if (!isAway) this.log.error({ err: cause, msg: 'a query could not be answered' });
      return new WireFault(isAway ? 'orchestrator-lost' : 'internal', undefined, { cause });
    }
  }

  private answer(body: QueryBody): Promise<ReceiptResult> {
    switch (body.case) {
      case 'logs':
        return this.logs.answer(body.value);
      case 'catalog':
        return this.catalog.answer();
      case 'agents':
        return this.agents.answer(body.value);
      case 'watch':
        return this.watches.answer(body.value);
    }
  }
}
