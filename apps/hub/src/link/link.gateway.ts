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
import { isLive, mayLink } from '../connections/connection-state.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { SessionEpochs } from '../connections/session-epochs.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { Inbound } from './inbound.js';
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
  ) {}

  afterInit(server: LinkServer): void {
    const { hubId, key } = this.identity;
    const listener = new LinkListener({
      hubId,
      key,
      findSpoke: (instanceId, keyId) => Promise.resolve(this.findSpoke(instanceId, keyId)),
      nextSessionEpoch: (instanceId, lastSeen) => {
        // async, so that a fault becomes a rejection.
        return Promise.resolve().then(() => this.nextSessionEpoch(instanceId, lastSeen));
      },
      epochs: () => ({ revocationEpoch: 0n, killEpochs: [] }),
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
    const older = this.registry.enter(link);
    void older?.close('closed', 'The instance has opened a newer link.');
    link.onMessage = (_lane, message) => {
      this.inbound.message(link, message);
    };
    void link.closed.then(({ code }) => {
      if (isFaultCode(code)) metrics.countRefusal(code);
    });
    link.start();
    links.set(this.registry.size);
    this.log.info({ instance: link.peerId, session: link.sessionId, msg: 'an instance is here' });
    this.connections.sawInstance(link.peerId);
    this.outbox.offerAll(link.peerId);
  }

  handleDisconnect(link: Link): void {
    const isGone = this.registry.leave(link);
    links.set(this.registry.size);
    this.connections.sawInstance(link.peerId);
    this.log.info({ instance: link.peerId, session: link.sessionId, isGone, msg: 'a link has ended' });
  }

  private findSpoke(instanceId: string, keyId: string): KeyRecord | undefined {
    const connection = this.connections.find(instanceId);
    if (connection === undefined || !isLive(connection.state)) return undefined;
    return connection.identityKey.keyId === keyId ? connection.identityKey : undefined;
  }

  /** Asked once the peer has proven its key: only then is it told that it must wait for approval. */
  private nextSessionEpoch(instanceId: string, lastSeen: bigint): bigint {
    const connection = this.connections.ofInstance(instanceId);
    if (!mayLink(connection.state))
      throw new WireFault('connection-not-active', `${instanceId} is ${connection.state}`);
    return this.sessions.next(connection.id, lastSeen);
  }
}
