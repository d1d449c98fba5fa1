import { type Link, SpokeDialer } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import { envelopeDigest } from '@capstan/identity';
import { type Envelope, type LaneName, type LinkMessage, payloadKind, type Routed, WireFault } from '@capstan/protocol';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandReceiver } from '../commands/command.receiver.js';
import { OwnerWishes } from '../connection/owner-wishes.js';
import { Revocation } from '../connection/revocation.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { linkUrl, moreLinkUrls } from '../instance/instance-file.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { LogWatches } from '../live-logs/log-watches.js';
import { QueryReceiver } from '../queries/query.receiver.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { PeerOrders } from '../routing/peer-orders.js';
import { HubStatements } from '../keys/hub-statements.js';
import { OwnKey } from '../keys/own-key.js';
import { HeartbeatContents } from './heartbeat-contents.js';
import { overtakesStatements } from './overtaking.js';
import { Reply } from './reply.js';
import { SessionEpochFile } from './session-epoch.js';

/** The spoke's link to its hub: what comes over it goes to the room that handles it. */
@Injectable()
export class LinkService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = createLogger('spoke.link');
  private readonly dialer: SpokeDialer;
  private readonly inHand = new Set<Promise<void>>();
  private current: Link | undefined;
  /** A key is in use of which the hub has not said that it took it. */
  private isUnheard = false;

  constructor(
    config: SpokeConfig,
    private readonly identity: SpokeIdentity,
    private readonly ownKey: OwnKey,
    private readonly hubStatements: HubStatements,
    private readonly commands: CommandReceiver,
    private readonly queries: QueryReceiver,
    private readonly watches: LogWatches,
    private readonly outbox: OutboxSender,
    private readonly heartbeats: HeartbeatContents,
    private readonly wishes: OwnerWishes,
    private readonly revocation: Revocation,
    private readonly peerOrders: PeerOrders,
  ) {
    this.dialer = new SpokeDialer({
      url: linkUrl(identity.instance),
      moreUrls: moreLinkUrls(identity.instance),
      instanceId: identity.instanceId,
      get key() {
        return identity.key;
      },
      hub: { id: identity.hubId, keys: identity.hubKeys },
      ...(identity.instance.hub.tls === undefined ? {} : { tls: identity.instance.hub.tls }),
      sessionEpoch: new SessionEpochFile(config.dir.sessionEpochFile),
      heartbeat: (peer) => this.heartbeats.content(peer),
      onLink: (link) => this.open(link),
      onRefused: (code) => this.ended(code),
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

  /** Whether there is a link to the hub. */
  get isOnline(): boolean {
    return this.current !== undefined;
  }

  private open(link: Link): void {
    this.current = link;
    this.isUnheard = false;
    link.onMessage = (lane, message) => this.take(link, lane, message);
    link.onHeartbeat = (heartbeat) => this.heartbeats.received(link, heartbeat);
    void link.closed.then(({ code }) => {
      if (code !== 'closed' && code !== 'link-lost') metrics.countRefusal(code);
      this.log.info({ msg: 'link closed', code, ...link.stats });
      if (this.current === link) this.current = undefined;
      this.ended(code);
    });
    this.heartbeats.welcomed(link);
    link.start();
    this.ownKey.attach(link);
    this.outbox.attach(link);
    this.peerOrders.attach(link);
    this.watches.attach(link);
  }

  /** What follows from the hub's last word, said by a hub that has proven its key. */
  private ended(code: string): void {
    if (code === 'key-revoked') this.keep(this.revoked());
    // The key that was to take the place of a revoked one: the hub has never heard of it.
    if (code === 'key-unknown' && this.isUnheard) this.revocation.told();
    if (code === 'connection-not-active' && this.wishes.isAsWished()) void this.dialer.close();
  }

  private async revoked(): Promise<void> {
    if (this.isUnheard || !(await this.ownKey.replacesRevoked())) this.revocation.told();
    else this.isUnheard = true;
  }

  private take(link: Link, lane: LaneName, message: LinkMessage): void {
    const { inHand } = this.hubStatements;
    // What comes behind a new key of the hub may be signed with it. A kill that is not waits for no disk.
    const isFree = inHand === undefined || overtakesStatements(lane, message, this.identity.hubKeys);
    if (isFree) this.takeNow(link, lane, message);
    else this.keep(inHand.then(() => this.take(link, lane, message)));
  }

  private takeNow(link: Link, lane: LaneName, { body }: LinkMessage): void {
    switch (body.case) {
      case 'envelope':
        this.keep(this.envelope(body.value, new Reply(link, lane)));
        return;
      case 'acknowledgement':
        if (this.ownKey.acknowledged(body.value.digest)) return;
        if (this.peerOrders.acknowledged(body.value.digest)) return;
        this.wishes.answeredBy(body.value.digest);
        if (!this.watches.acknowledged(body.value.digest)) this.outbox.acknowledged(body.value.digest);
        return;
      case 'rejection':
        if (this.ownKey.rejected(body.value)) return;
        if (this.peerOrders.rejected(body.value)) return;
        this.wishes.answeredBy(body.value.digest, body.value.code);
        if (!this.watches.rejected(body.value)) this.outbox.rejected(body.value);
        return;
      case 'routed':
        this.keep(this.routed(body.value, new Reply(link, lane)));
        return;
      case undefined:
        // The link lets no empty message pass.
        return;
    }
  }

  /** Of somebody else, by way of the hub: an answer to a command of ours, or a command for us. */
  private async routed(routed: Routed, reply: Reply): Promise<void> {
    if (payloadKind(routed.envelope?.payloadType ?? '') === 'receipt') return this.peerOrders.answered(routed);
    return this.commands.receiveRouted(routed, reply);
  }

  private async envelope(envelope: Envelope, reply: Reply): Promise<void> {
    switch (payloadKind(envelope.payloadType)) {
      case 'command':
        return this.commands.receive(envelope, reply);
      case 'query':
        return this.queries.receive(envelope, reply);
      case 'key-statement':
        return this.hubStatements.take(envelope, reply);
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
