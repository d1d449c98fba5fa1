import { envelopeDigest, makeHeader, type RoutedBody, signPayload } from '@capstan/identity';
import type { Link } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import {
  CommandSchema,
  create,
  Direction,
  type Envelope,
  faultSentence,
  isFaultCode,
  LinkMessageSchema,
  type Rejection,
  type Routed,
  toBinary,
  toHex,
  WireFault,
} from '@capstan/protocol';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { PeerOrder } from './peer-order.js';
import { PeerReceipts } from './peer-receipts.js';

/** Orders under way at once. */
const MOST_ORDERS = 1_000;
/** What was not answered goes out again, on the same link too: an answer may have been lost. */
const REPEAT_MS = 5_000;

/** The target has a key to which nothing leads that is believed here. */
const UNFOLLOWED: ReadonlySet<string> = new Set(['key-unfollowed', 'key-fork']);

/** What is to be ordered of another instance. */
export interface PeerOrderInit {
  target: string;
  body: RoutedBody;
  tenant: string;
  lifetimeMs: number;
}

/**
 * Commands of this instance for others: signed here, routed by the hub, answered by the target. They are kept in memory
 * and repeated until they are answered; who ordered asks again after a restart.
 */
@Injectable()
export class PeerOrders implements OnModuleDestroy {
  private readonly log = createLogger('spoke.orders');
  private readonly orders = new Map<string, PeerOrder>();
  private readonly timer: NodeJS.Timeout;
  private link: Link | undefined;

  constructor(
    private readonly identity: SpokeIdentity,
    private readonly config: SpokeConfig,
    private readonly receipts: PeerReceipts,
    private readonly audit: Audit,
  ) {
    this.timer = setInterval(() => this.repeat(), REPEAT_MS);
    this.timer.unref();
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  /** A new link: everything that is not answered goes over it. */
  attach(link: Link): void {
    this.link = link;
    void link.closed.then(() => {
      if (this.link === link) this.link = undefined;
    });
    this.repeat();
  }

  /** Signs an order and sends it, now or when there is a link. @throws WireFault `queue-unavailable`, `route-cycle` */
  async issue(init: PeerOrderInit): Promise<PeerOrder> {
    const { target, body } = init;
    if (target === this.identity.instanceId) throw new WireFault('route-cycle', 'an order for oneself');
    if (this.orders.size >= MOST_ORDERS) throw new WireFault('queue-unavailable', 'too many orders under way');
    const { envelope, id } = this.sign(init);
    const digest = toHex(envelopeDigest(envelope));
    const isKill = body.case === 'kill';
    const entry = { kind: 'peer.ordered', subject: id, detail: { target, command: body.case, digest } };
    if (isKill) await this.audit.beforeKill(entry);
    else await this.audit.append(entry);
    const givenUpAt = performance.now() + init.lifetimeMs;
    const order = new PeerOrder(target, envelope, isKill ? 'kill' : 'commands', givenUpAt);
    this.orders.set(digest, order);
    this.send(order);
    return order;
  }

  /** It is answered for good. What is not forgotten is repeated until its lifetime ends. */
  forget({ envelope }: PeerOrder): void {
    this.orders.delete(toHex(envelopeDigest(envelope)));
  }

  /** A receipt that the hub has sent on. Never throws: what does not hold is as if it had not come. */
  async answered(routed: Routed): Promise<void> {
    let order: PeerOrder | undefined;
    try {
      order = this.orders.get(toHex(this.receipts.commandOf(routed)));
      if (order === undefined) return;
      const { receipt, envelope } = await this.receipts.verify(routed, order);
      const detail = { target: order.target, result: receipt.kind, receipt: toHex(receipt.digest) };
      this.audit.note({ kind: 'peer.answered', subject: receipt.receipt.commandId, detail });
      order.hear({ receipt, envelope });
    } catch (error) {
      const fault = error instanceof WireFault ? error : new WireFault('internal', 'receipt', { cause: error });
      metrics.countRefusal(fault.code);
      this.log.warn({ err: fault, msg: 'an answer of another instance does not hold', code: fault.code });
      this.audit.noteSome({
        kind: 'peer.answer-refused',
        subject: this.identity.instanceId,
        detail: { code: fault.code },
      });
      // No repetition brings another answer before somebody has pinned the target anew.
      if (order === undefined || !UNFOLLOWED.has(fault.code)) return;
      order.refuse(fault);
      this.forget(order);
    }
  }

  /** True where it was about an order of ours. One that can succeed later is simply repeated. */
  rejected({ digest, code, retryable }: Rejection): boolean {
    const order = this.orders.get(toHex(digest));
    if (order === undefined) return false;
    if (retryable) return true;
    order.refuse(new WireFault(isFaultCode(code) ? code : 'internal', faultSentence(code)));
    this.forget(order);
    return true;
  }

  /** True where it was about an order of ours. */
  acknowledged(digest: Uint8Array): boolean {
    return this.orders.has(toHex(digest));
  }

  private repeat(): void {
    const now = performance.now();
    for (const [digest, order] of this.orders) {
      if (order.givenUpAt <= now) this.orders.delete(digest);
      else this.send(order);
    }
  }

  private send({ envelope, lane }: PeerOrder): void {
    const message = create(LinkMessageSchema, { body: { case: 'envelope', value: envelope } });
    this.link?.send(lane, message).catch((error: unknown) => {
      this.log.debug({ err: error, msg: 'an order was not sent: the link is gone' });
    });
  }

  private sign({ target, body, tenant, lifetimeMs }: PeerOrderInit): { envelope: Envelope; id: string } {
    const header = makeHeader({
      issuer: this.identity.instanceId,
      audience: target,
      direction: Direction.SPOKE_TO_SPOKE,
      tenant,
      lifetimeMs,
      nowMs: this.config.now(),
      hopLimit: 1,
      keyEpoch: this.identity.keyEpoch,
    });
    const payload = toBinary(CommandSchema, create(CommandSchema, { header, body }));
    return { envelope: signPayload(this.identity.key, 'command', payload), id: header.id };
  }
}
