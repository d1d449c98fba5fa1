import { verifyReceipt } from '@capstan/evidence';
import {
  envelopeDigest,
  type KeyRing,
  makeHeader,
  type RoutedBody,
  signPayload,
  type SigningKey,
  verifyAdmission,
} from '@capstan/identity';
import {
  CommandSchema,
  create,
  Direction,
  type LaneName,
  type LinkMessage,
  type Routed,
  toBinary,
  toHex,
} from '@capstan/protocol';

/** When an order is over: once the hub has it on disk, or once the target's receipt has come back. */
export type Until = 'acknowledged' | 'answered';

/** The instance that orders, as far as it is needed here. */
interface Origin {
  readonly instanceId: string;
  readonly key: SigningKey;
  readonly hubKeys: KeyRing;
  /** Keys of the other instances. */
  readonly peers: KeyRing;
  send(lane: LaneName, body: LinkMessage['body']): Promise<void>;
}

interface Order extends PromiseWithResolvers<void> {
  until: Until;
}

/** What an instance orders of others: signed by it, and its answers verified from end to end, as a real one does. */
export class RoutedOrders {
  private readonly pending = new Map<string, Order>();
  private readonly origin: Origin;

  constructor(origin: Origin) {
    this.origin = origin;
  }

  /** Signs and sends an order; resolves when it is over. @throws Error where it is refused or its answer does not hold */
  async give(target: string, body: RoutedBody, until: Until): Promise<void> {
    const header = makeHeader({
      issuer: this.origin.instanceId,
      audience: target,
      direction: Direction.SPOKE_TO_SPOKE,
      tenant: 'default',
      hopLimit: 1,
    });
    const payload = toBinary(CommandSchema, create(CommandSchema, { header, body }));
    const command = signPayload(this.origin.key, 'command', payload);
    const order: Order = { until, ...Promise.withResolvers<void>() };
    this.pending.set(toHex(envelopeDigest(command)), order);
    await this.origin.send('commands', { case: 'envelope', value: command });
    await order.promise;
  }

  /** What the hub says of an order without signing it: taken, or refused. */
  heard({ body }: LinkMessage): void {
    if (body.case !== 'acknowledgement' && body.case !== 'rejection') return;
    const order = this.pending.get(toHex(body.value.digest));
    if (body.case === 'rejection') {
      const refused = new Error(`${this.origin.instanceId}: refused with ${body.value.code}`);
      // Nothing that is sent here is to be refused: a measurement of refusals would be quick and wrong.
      if (order === undefined) throw refused;
      order.reject(refused);
    } else if (order?.until === 'acknowledged') this.isOver(body.value.digest, order);
  }

  /** A receipt that the hub has sent on. @throws WireFault where the admission or the receipt does not hold */
  answered({ envelope, admission }: Routed): void {
    if (envelope === undefined) throw new Error('nothing was routed');
    const want = { audience: this.origin.instanceId, digest: envelopeDigest(envelope), nowMs: Date.now() };
    verifyAdmission(admission, { keys: this.origin.hubKeys, ...want });
    const { receipt } = verifyReceipt({ envelope, keys: this.origin.peers });
    const order = this.pending.get(toHex(receipt.commandDigest));
    if (order === undefined) return;
    if (receipt.result.case === 'refused')
      order.reject(new Error(`the target has refused: ${receipt.result.value.code}`));
    this.isOver(receipt.commandDigest, order);
  }

  private isOver(digest: Uint8Array, order: Order): void {
    this.pending.delete(toHex(digest));
    order.resolve();
  }
}
