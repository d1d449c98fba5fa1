import { Injectable } from '@nestjs/common';
import { envelopeDigest } from '@capstan/identity';
import type { Link } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import {
  create,
  type Envelope,
  type LinkMessage,
  LinkMessageSchema,
  type MessageInitShape,
  payloadKind,
  WireFault,
} from '@capstan/protocol';
import { Deliveries } from '../commands/deliveries.js';
import { RecordWriter } from '../database/record-writer.js';
import { EventIntake } from '../events/event.intake.js';
import { InstanceKeys } from '../keys/instance-keys.js';
import { StatementPush } from '../keys/statement-push.js';
import { Queries } from '../queries/queries.js';
import { ReceiptIntake } from '../receipts/receipt.intake.js';
import { LinkRelay } from '../replicas/link-relay.js';
import { ResultForwarder } from '../routing/result-forwarder.js';
import { RoutingDesk } from '../routing/routing-desk.js';
import { RefusalLog } from './refusal-log.js';

/** Envelopes of all links that may be on their way to disk at once. */
const MOST_IN_HAND = 4_096;

/** Takes what instances send, and tells them for each envelope whether the hub has it on disk or will not have it. */
@Injectable()
export class Inbound {
  private readonly log = createLogger('hub.inbound');
  private inHand = 0;

  constructor(
    private readonly deliveries: Deliveries,
    private readonly receipts: ReceiptIntake,
    private readonly events: EventIntake,
    private readonly queries: Queries,
    private readonly writer: RecordWriter,
    private readonly refusals: RefusalLog,
    private readonly routing: RoutingDesk,
    private readonly results: ResultForwarder,
    private readonly keys: InstanceKeys,
    private readonly statements: StatementPush,
    private readonly relay: LinkRelay,
  ) {}

  /** Never throws: what is wrong is the peer's to hear. */
  message(link: Link, { body }: LinkMessage): void {
    switch (body.case) {
      case 'acknowledgement':
        if (!this.statements.acknowledged(link.peerId, body.value))
          this.deliveries.acknowledged(link.peerId, body.value);
        return;
      case 'rejection':
        if (this.statements.rejected(link.peerId, body.value)) return;
        if (this.queries.rejected(link.peerId, body.value) || this.relay.rejected(link.peerId, body.value)) return;
        this.deliveries.rejected(link.peerId, body.value);
        return;
      case 'envelope':
        void this.envelope(link, body.value);
        return;
      // Only a hub routes.
      case 'routed':
      case undefined:
        metrics.countRefusal('frame-malformed');
    }
  }

  private async envelope(link: Link, envelope: Envelope): Promise<void> {
    const digest = envelopeDigest(envelope);
    this.inHand += 1;
    try {
      // Another's kill is let through here: it waits for no disk, and the router refuses what is none.
      const isCommand = payloadKind(envelope.payloadType) === 'command';
      if (!isCommand && (this.inHand > MOST_IN_HAND || this.writer.isFull))
        throw new WireFault('queue-unavailable', 'too much in hand');
      await this.take(link.peerId, envelope);
      await this.reply(link, { case: 'acknowledgement', value: { digest } });
    } catch (error) {
      await this.refuse(link, digest, error);
    } finally {
      this.inHand -= 1;
    }
  }

  private take(instance: string, envelope: Envelope): Promise<void> {
    switch (payloadKind(envelope.payloadType)) {
      case 'receipt':
        return this.receipts.take(instance, envelope);
      case 'event':
        return this.events.take(instance, envelope);
      case 'key-statement':
        return this.keys.take(instance, envelope);
      case 'command':
        return this.route(instance, envelope);
      default:
        return Promise.reject(new WireFault('payload-type-unknown', envelope.payloadType.slice(0, 100)));
    }
  }

  /** Another instance is ordered something: told as taken once it is on disk, and answered by that instance. */
  private async route(instance: string, envelope: Envelope): Promise<void> {
    const isFull = this.inHand > MOST_IN_HAND || this.writer.isFull;
    const { record, isRepeated } = await this.routing.fromInstance(instance, envelope, isFull);
    if (isRepeated) await this.results.repeat(record);
  }

  private async refuse(link: Link, digest: Uint8Array, error: unknown): Promise<void> {
    const fault = error instanceof WireFault ? error : new WireFault('internal', undefined, { cause: error });
    if (fault.code === 'internal')
      this.log.error({ err: error, instance: link.peerId, msg: 'an envelope could not be taken' });
    this.refusals.note(link.peerId, fault, Buffer.from(digest).toString('hex'));
    const { code, sentence, retryable } = fault;
    await this.reply(link, { case: 'rejection', value: { digest, code, sentence, retryable } });
  }

  private async reply(
    link: Link,
    body: NonNullable<MessageInitShape<typeof LinkMessageSchema>['body']>,
  ): Promise<void> {
    try {
      await link.send('control', create(LinkMessageSchema, { body }));
    } catch {
      // The link ended; the peer repeats what it was not told about.
    }
  }
}
