import type { AuditHead } from '@capstan/evidence';
import { makeHeader, signPayload } from '@capstan/identity';
import {
  create,
  Direction,
  type Envelope,
  EventSchema,
  type LogPage,
  type Receipt,
  ReceiptSchema,
  toBinary,
  type AgentSnapshot,
  type AgentStalled,
  type WireFault,
} from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import type { OrderRef } from '../verify/verify-order.js';

/** A receipt is evidence: it is verified years after it was made. */
const RECEIPT_LIFETIME_MS = 10 * 365 * 24 * 3_600_000;
/** An event waits in the outbox as long as the hub is away. */
const EVENT_LIFETIME_MS = 30 * 24 * 3_600_000;
/** A line of a log is for whoever watches now. */
const LOG_LIFETIME_MS = 60_000;

export type ReceiptResult = Exclude<Receipt['result'], { case: undefined }>;

/** Signs what the spoke says, with the instance's identity key. */
@Injectable()
export class ReceiptSigner {
  constructor(
    private readonly identity: SpokeIdentity,
    private readonly config: SpokeConfig,
  ) {}

  /** The answer to an order, bound to its digest. `acceptedAtMs`: when this instance took the order. */
  receipt(order: OrderRef, acceptedAtMs: number, result: ReceiptResult, audit?: AuditHead): Envelope {
    const receipt = create(ReceiptSchema, {
      header: this.header(order.tenant, RECEIPT_LIFETIME_MS, order.traceparent),
      commandIssuer: order.issuer,
      commandId: order.id,
      commandDigest: order.digest,
      agentId: order.agentId,
      acceptedAtMs: BigInt(acceptedAtMs),
      ...(audit === undefined ? {} : { audit: { sequence: audit.sequence, hash: audit.hash } }),
      result,
    });
    return signPayload(this.identity.key, 'receipt', toBinary(ReceiptSchema, receipt));
  }

  refusal(order: OrderRef, acceptedAtMs: number, fault: WireFault, audit?: AuditHead): Envelope {
    const { code, sentence, retryable } = fault;
    const refused: ReceiptResult = {
      case: 'refused',
      value: { $typeName: 'capstan.v1.Refused', code, sentence, retryable },
    };
    return this.receipt(order, acceptedAtMs, refused, audit);
  }

  agentChanged(agent: AgentSnapshot, tenant: string): Envelope {
    const event = create(EventSchema, {
      header: this.header(tenant, EVENT_LIFETIME_MS, ''),
      body: { case: 'agentChanged', value: agent },
    });
    return signPayload(this.identity.key, 'event', toBinary(EventSchema, event));
  }

  agentStalled(stall: AgentStalled, tenant: string): Envelope {
    const event = create(EventSchema, {
      header: this.header(tenant, EVENT_LIFETIME_MS, ''),
      body: { case: 'agentStalled', value: stall },
    });
    return signPayload(this.identity.key, 'event', toBinary(EventSchema, event));
  }

  logsAppended(agentId: string, watchId: string, page: LogPage): Envelope {
    const event = create(EventSchema, {
      header: this.header('', LOG_LIFETIME_MS, ''),
      body: { case: 'logsAppended', value: { $typeName: 'capstan.v1.LogsAppended', agentId, watchId, page } },
    });
    return signPayload(this.identity.key, 'event', toBinary(EventSchema, event));
  }

  private header(tenant: string, lifetimeMs: number, traceparent: string): ReturnType<typeof makeHeader> {
    return makeHeader({
      issuer: this.identity.instanceId,
      audience: this.identity.hubId,
      direction: Direction.SPOKE_TO_HUB,
      tenant,
      lifetimeMs,
      traceparent,
      nowMs: this.config.now(),
      keyEpoch: this.identity.keyEpoch,
    });
  }
}
