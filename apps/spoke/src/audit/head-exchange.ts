import { HeadOffer, type OwnLog, signTreeHead, type TreeState } from '@capstan/evidence';
import type { HeartbeatContent, Heartbeats, Link } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import { type Envelope, LocalFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { HeartbeatContents } from '../link/heartbeat-contents.js';
import { Audit } from './audit.js';
import { HubLog } from './hub-log.js';

/** Heads of audit logs in heartbeats: the instance's own to the hub, and the hub's to the instance. */
@Injectable()
export class HeadExchange {
  private readonly log = createLogger('spoke.audit');
  private session: { id: string; offer: HeadOffer } | undefined;

  constructor(
    heartbeats: HeartbeatContents,
    private readonly identity: SpokeIdentity,
    private readonly config: SpokeConfig,
    private readonly audit: Audit,
    private readonly hub: HubLog,
  ) {
    heartbeats.register(() => this.content());
    heartbeats.onReceived((link, heartbeat) => {
      this.received(link, heartbeat).catch((err: unknown) => {
        this.log.warn({ err, msg: 'no tree head for this heartbeat' });
      });
    });
  }

  private content(): Partial<HeartbeatContent> {
    return { treeHeld: this.hub.heldSize, ...this.session?.offer.take() };
  }

  private async received(link: Link, { treeHead, treeProof, treeHeld }: Heartbeats): Promise<void> {
    await this.hub.load();
    if (treeHead !== undefined) await this.hub.take(treeHead, treeProof);
    // A Welcome's epochs are heard like a heartbeat, and say nothing of logs.
    if (treeHeld === undefined || this.audit.fault !== undefined) return;
    if (this.session?.id !== link.sessionId) this.session = { id: link.sessionId, offer: this.newOffer() };
    await this.session.offer.heard(treeHeld);
  }

  private newOffer(): HeadOffer {
    return new HeadOffer(ownLog(this.audit), (state) => this.sign(state));
  }

  private sign({ size, root }: TreeState): Envelope {
    const { key, instanceId: logId, hubId: audience } = this.identity;
    return signTreeHead({ key, owner: 'instance', logId, audience, size, root, nowMs: this.config.now() });
  }
}

function ownLog(audit: Audit): OwnLog {
  return {
    refresh: () => audit.ready(),
    get tree() {
      const { tree } = audit;
      if (tree === undefined) throw new LocalFault('audit-damaged', 'The audit log was not read through.');
      return tree;
    },
  };
}
