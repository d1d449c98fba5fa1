import { Injectable, type OnModuleInit } from '@nestjs/common';
import { envelopeDigest } from '@capstan/identity';
import {
  create,
  decodeEnvelope,
  type Envelope,
  fromBase64,
  type LaneName,
  LinkMessageSchema,
  type LinkMessage,
  type Rejection,
  toHex,
} from '@capstan/protocol';
import { envelopeText } from '../commands/envelope-text.js';
import { RecentMap } from '../commands/recent-map.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { Presence } from './presence.js';
import { ReplicaBus } from './replica-bus.js';

/** Questions of other replicas whose answers may still come. */
const MOST_ASKED = 10_000;

/** Brings questions, which nobody stores, to instances that are linked to another replica, and their answers back. */
@Injectable()
export class LinkRelay implements OnModuleInit {
  /** Ids of questions that another replica has asked, and the digests of their envelopes. */
  private readonly asked = new RecentMap<string, true>(MOST_ASKED);

  constructor(
    private readonly bus: ReplicaBus,
    private readonly presence: Presence,
    private readonly links: LinkRegistry,
  ) {}

  onModuleInit(): void {
    this.bus.on('ask', ({ instance, lane, id, envelope: text }) => {
      if (this.links.of(instance) === undefined) return;
      const envelope = decodeEnvelope(fromBase64(text));
      this.asked.set(id, true);
      this.asked.set(toHex(envelopeDigest(envelope)), true);
      const message = create(LinkMessageSchema, { body: { case: 'envelope', value: envelope } });
      void this.links.send(instance, lane, message);
    });
  }

  /** Sends over the instance's link, here or at another replica; false where it has none. @param id of the question */
  async send(instance: string, lane: LaneName, message: LinkMessage, id: string): Promise<boolean> {
    const isHere = this.links.of(instance) !== undefined;
    if (isHere || message.body.case !== 'envelope' || this.presence.of(instance) === undefined)
      return this.links.send(instance, lane, message);
    this.bus.publish({ kind: 'ask', instance, lane, id, envelope: envelopeText(message.body.value) });
    return true;
  }

  /** Whether a receipt answers another replica's question; it is sent on then. Nothing of it is verified yet. */
  took(commandId: string, instance: string, envelope: Envelope): boolean {
    if (!this.asked.has(commandId)) return false;
    this.bus.publish({ kind: 'answer', instance, envelope: envelopeText(envelope) });
    return true;
  }

  /** Sends lines on that nobody here watches; false where there is no other replica that may. Nothing of them is stored. */
  told(instance: string, envelope: Envelope): boolean {
    if (!this.bus.isReplicated || !this.bus.isUp) return false;
    this.bus.publish({ kind: 'lines', instance, envelope: envelopeText(envelope) });
    return true;
  }

  /** `take` is called with lines that an instance has told another replica. */
  onLines(take: (instance: string, envelope: Envelope) => void): void {
    this.bus.on('lines', ({ instance, envelope }) => {
      take(instance, decodeEnvelope(fromBase64(envelope)));
    });
  }

  /** Whether a rejection is of another replica's question; it is sent on then. */
  rejected(instance: string, { digest: bytes, code }: Rejection): boolean {
    const digest = toHex(bytes);
    if (!this.asked.has(digest)) return false;
    this.bus.publish({ kind: 'rejected', instance, digest, code });
    return true;
  }
}
