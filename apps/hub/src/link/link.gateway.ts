import {
  type OnGatewayConnection,
  type OnGatewayDisconnect,
  type OnGatewayInit,
  WebSocketGateway,
} from '@nestjs/websockets';
import type { KeyRecord } from '@capstan/identity';
import { type Link, LinkListener } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import { isFaultCode, WireFault } from '@capstan/protocol';
import { Gauge } from 'prom-client';
import { Outbox } from '../commands/outbox.js';
import { mayLink } from '../connections/connection-state.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkCloser } from '../connections/link-closer.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { SessionEpochs } from '../connections/session-epochs.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { StatementPush } from '../keys/statement-push.js';
import { Killswitch } from '../killswitch/killswitch.js';
import { RenewedKills } from '../killswitch/renewed-kills.js';
import { HeartbeatContents } from './heartbeat-contents.js';
import { Inbound } from './inbound.js';
import { HubTls } from '../tls/hub-tls.js';
import type { LinkServer } from './link.adapter.js';

export const LINK_PATH = '/federation/link';

const links = new Gauge({ name: 'capstan_links', help: 'Instances that hold a link.', registers: [metrics.registry] });

/** Where spokes dial in. */
@WebSocketGateway({ path: LINK_PATH })
export class LinkGateway implements OnGatewayInit<LinkServer>, OnGatewayConnection<Link>, OnGatewayDisconnect<Link> {
  private readonly log = createLogger('hub.link');

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly sessions: SessionEpochs,
    private readonly registry: LinkRegistry,
    private readonly inbound: Inbound,
    private readonly outbox: Outbox,
    private readonly heartbeats: HeartbeatContents,
    private readonly tls: HubTls,
    private readonly killswitch: Killswitch,
    private readonly renewedKills: RenewedKills,
    private readonly closer: LinkCloser,
    private readonly statements: StatementPush,
  ) {}

  afterInit(server: LinkServer): void {
    const { hubId, key } = this.identity;
    const listener = new LinkListener({
      hubId,
      key,
      keyFor: (knownKeyId) => this.identity.greetingKey(knownKeyId),
      findSpoke: (instanceId, keyId) => Promise.resolve(this.findSpoke(instanceId, keyId)),
      nextSessionEpoch: (instanceId, lastSeen) => {
        // async, so that a fault becomes a rejection.
        return Promise.resolve().then(() => this.nextSessionEpoch(instanceId, lastSeen));
      },
      tlsEnds: this.tls.ends,
      heartbeat: (peer) => this.heartbeats.content(peer),
      onLink: (link) => {
        server.onLink(link);
      },
      onRefused: (code) => {
        metrics.countRefusal(code);
      },
    });
    server.listenWith(listener);
  }

  handleConnection(link: Link): void {
    if (this.closer.refuses(link)) return;
    const older = this.registry.enter(link);
    void older?.close('closed', 'The instance has opened a newer link.');
    link.onMessage = (_lane, message) => {
      this.inbound.message(link, message);
    };
    link.onHeartbeat = (heartbeat) => {
      this.heartbeats.received(link, heartbeat);
    };
    void link.closed.then(({ code }) => {
      if (isFaultCode(code)) metrics.countRefusal(code);
    });
    link.start();
    links.set(this.registry.size);
    this.log.info({ instance: link.peerId, session: link.sessionId, msg: 'an instance is here' });
    this.connections.sawInstance(link.peerId);
    this.statements.bringUpToDate(link, () => {
      this.renewedKills.renewFor(link.peerId);
      this.killswitch.catchUp(link.peerId);
      this.outbox.offerAll(link.peerId);
    });
  }

  handleDisconnect(link: Link): void {
    const isGone = this.registry.leave(link);
    links.set(this.registry.size);
    this.connections.sawInstance(link.peerId);
    this.log.info({ instance: link.peerId, session: link.sessionId, isGone, msg: 'a link has ended' });
  }

  private findSpoke(instanceId: string, keyId: string): KeyRecord | undefined {
    // Also of a connection that has ended: it is told why, and a revoked key is refused as that.
    const connection = this.connections.find(instanceId);
    const key = connection?.keys.get(keyId);
    return key?.purposes.includes('link') === true ? key : undefined;
  }

  /** Asked once the peer has proven its key: only then is it told that it must wait for approval, or has ended. */
  private nextSessionEpoch(instanceId: string, lastSeen: bigint): bigint {
    const connection = this.connections.ofInstance(instanceId);
    if (!mayLink(connection.state))
      throw new WireFault('connection-not-active', `${instanceId} is ${connection.state}`);
    return this.sessions.next(connection.id, lastSeen);
  }
}
