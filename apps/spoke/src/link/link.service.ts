import { type Link, SpokeDialer } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import { envelopeDigest } from '@capstan/identity';
import {
  create,
  type Envelope,
  EnvelopeSchema,
  type LaneName,
  type LinkMessage,
  payloadKind,
  WireFault,
} from '@capstan/protocol';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandReceiver } from '../commands/command.receiver.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { linkUrl } from '../instance/instance-file.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { LogsHandler } from '../queries/logs.handler.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { Reply } from './reply.js';
import { SessionEpochFile } from './session-epoch.js';

/** The spoke's link to its hub: what comes over it goes to the room that handles it. */
@Injectable()
export class LinkService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = createLogger('spoke.link');
  private readonly dialer: SpokeDialer;
  private readonly inHand = new Set<Promise<void>>();

  constructor(
    config: SpokeConfig,
    identity: SpokeIdentity,
    private readonly commands: CommandReceiver,
    private readonly logs: LogsHandler,
    private readonly outbox: OutboxSender,
  ) {
    this.dialer = new SpokeDialer({
      url: linkUrl(identity.instance),
      instanceId: identity.instanceId,
      key: identity.key,
      hub: { id: identity.hubId, keys: identity.hubKeys },
      sessionEpoch: new SessionEpochFile(config.dir.sessionEpochFile),
      onLink: (link) => this.open(link),
      onState: (state, detail) => this.log.info({ msg: state, detail }),
    });
  }

  onApplicationBootstrap(): void {
    this.dialer.start();
  }

  /** Takes nothing more; what was taken is finished. */
  async onModuleDestroy(): Promise<void> {
    await this.dialer.close();
    await Promise.all(this.inHand);
  }

  private open(link: Link): void {
    link.onMessage = (lane, message) => this.take(link, lane, message);
    void link.closed.then(({ code }) => {
      if (code !== 'closed' && code !== 'link-lost') metrics.countRefusal(code);
      this.log.info({ msg: 'link closed', code, ...link.stats });
    });
    link.start();
    this.outbox.attach(link);
  }

  private take(link: Link, lane: LaneName, { body }: LinkMessage): void {
    switch (body.case) {
      case 'envelope':
        this.keep(this.envelope(body.value, new Reply(link, lane)));
        return;
      case 'acknowledgement':
        this.outbox.acknowledged(body.value.digest);
        return;
      case 'rejection':
        this.outbox.rejected(body.value);
        return;
      case 'routed':
        new Reply(link, lane).reject(
          envelopeDigest(body.value.envelope ?? create(EnvelopeSchema)),
          new WireFault('policy-peer'),
        );
        return;
      case undefined:
        // The link lets no empty message pass.
        return;
    }
  }

  private async envelope(envelope: Envelope, reply: Reply): Promise<void> {
    switch (payloadKind(envelope.payloadType)) {
      case 'command':
        return this.commands.receive(envelope, reply);
      case 'query':
        return this.logs.answer(envelope, reply);
      default: {
        const fault = new WireFault('payload-type-unknown', envelope.payloadType.slice(0, 100));
        metrics.countRefusal(fault.code);
        reply.reject(envelopeDigest(envelope), fault);
      }
    }
  }

  private keep(handling: Promise<void>): void {
    const kept = handling.finally(() => this.inHand.delete(kept));
    this.inHand.add(kept);
  }
}
