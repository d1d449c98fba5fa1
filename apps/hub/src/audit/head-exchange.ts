import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HeadOffer, signTreeHead, type TreeState } from '@capstan/evidence';
import type { HeartbeatContent, Heartbeats, Link, LinkPeer } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import type { Envelope } from '@capstan/protocol';
import { HubIdentity } from '../identity/hub-identity.js';
import { HeartbeatContents } from '../link/heartbeat-contents.js';
import { AuditTree } from './audit-tree.js';
import { InstanceLogs } from './instance-logs.js';

/** Heads of audit logs in heartbeats: the hub's own to each instance, and those of the instances to the hub. */
@Injectable()
export class HeadExchange implements OnModuleInit {
  private readonly log = createLogger('hub.audit');
  /** By session. */
  private readonly sessions = new Map<string, { offer: HeadOffer; loaded?: Promise<void> | undefined }>();

  constructor(
    private readonly heartbeats: HeartbeatContents,
    private readonly identity: HubIdentity,
    private readonly tree: AuditTree,
    private readonly logs: InstanceLogs,
  ) {}

  onModuleInit(): void {
    this.heartbeats.register((_instanceId, peer) => this.content(peer));
    this.heartbeats.onReceived((link, heartbeat) => {
      this.received(link, heartbeat).catch((err: unknown) => {
        this.log.warn({ err, instance: link.peerId, msg: 'no tree head for this heartbeat' });
      });
    });
  }

  private content({ peerId, sessionId }: LinkPeer): Partial<HeartbeatContent> {
    return { treeHeld: this.logs.heldSize(peerId), ...this.sessions.get(sessionId)?.offer.take() };
  }

  private async received(link: Link, { treeHead, treeProof, treeHeld }: Heartbeats): Promise<void> {
    const { peerId } = link;
    const session = this.sessions.get(link.sessionId) ?? this.begin(link);
    session.loaded ??= this.logs.load(peerId).catch((error: unknown) => {
      session.loaded = undefined;
      throw error;
    });
    await session.loaded;
    if (treeHead !== undefined) await this.logs.take(peerId, treeHead, treeProof);
    await session.offer.heard(treeHeld ?? 0);
  }

  private begin({ peerId, sessionId, closed }: Link): { offer: HeadOffer; loaded?: Promise<void> | undefined } {
    const session = { offer: new HeadOffer(this.tree, (state) => this.sign(state, peerId)) };
    this.sessions.set(sessionId, session);
    void closed.then(() => this.sessions.delete(sessionId));
    return session;
  }

  private sign({ size, root }: TreeState, audience: string): Envelope {
    const { hubId } = this.identity;
    const { key } = this.identity.signerFor(audience);
    return signTreeHead({ key, owner: 'hub', logId: hubId, audience, size, root, nowMs: Date.now() });
  }
}
