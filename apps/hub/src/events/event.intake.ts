import { Injectable, type OnModuleInit } from '@nestjs/common';
import { checkKeyEpoch, openEnvelope } from '@capstan/identity';
import {
  agentId,
  type AgentSnapshot,
  type AgentStalled,
  Direction,
  type Envelope,
  EventSchema,
  stripControl,
  toHex,
  WireFault,
} from '@capstan/protocol';
import { AgentDirectory } from '../agents/agent.directory.js';
import { reported } from '../agents/agent-report.js';
import { RecentMap } from '../commands/recent-map.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { ConnectionWishes } from '../connections/connection-wishes.js';
import { RecordWriter } from '../database/record-writer.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { LogWatches } from '../live-logs/log-watches.js';
import { LinkRelay } from '../replicas/link-relay.js';

/** Digests of events that are stored; a spoke repeats what it has not heard acknowledged. */
const MOST_REMEMBERED = 5_000;
const LONGEST_REASON = 500;
/** What an owner's policy may make of a stall. */
const ACTIONS: readonly string[] = ['notify', 'kill', 'none'];

/** Takes what instances tell unasked. */
@Injectable()
export class EventIntake implements OnModuleInit {
  private readonly stored = new RecentMap<string, true>(MOST_REMEMBERED);

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly agents: AgentDirectory,
    private readonly writer: RecordWriter,
    private readonly watches: LogWatches,
    private readonly wishes: ConnectionWishes,
    private readonly relay: LinkRelay,
  ) {}

  onModuleInit(): void {
    this.relay.onLines((instance, envelope) => {
      const { body } = this.open(instance, envelope).payload;
      if (body.case !== 'logsAppended' || !this.watches.knows(body.value.watchId)) return;
      this.watches.take(instance, body.value);
    });
  }

  /**
   * Resolves once the event is on disk. An older revision than the one that is known changes nothing.
   *
   * @throws WireFault why it is refused
   */
  async take(instance: string, envelope: Envelope): Promise<void> {
    const { payload, header, digest } = this.open(instance, envelope);
    switch (payload.body.case) {
      case 'agentChanged': {
        const hex = toHex(digest);
        if (this.stored.has(hex)) return;
        await this.agentChanged(instance, payload.body.value, header.issuedAtMs);
        this.stored.set(hex, true);
        return;
      }
      case 'agentStalled': {
        const hex = toHex(digest);
        if (this.stored.has(hex)) return;
        await this.agentStalled(instance, payload.body.value);
        this.stored.set(hex, true);
        return;
      }
      case 'connectionWish':
        await this.wishes.take(instance, payload.body.value, header.issuedAtMs);
        return;
      case 'logsAppended':
        // A reader at another replica: what is dropped on the way he is told as a gap.
        if (!this.watches.knows(payload.body.value.watchId) && this.relay.told(instance, envelope)) return;
        this.watches.take(instance, payload.body.value);
        return;
      case undefined:
        throw new WireFault('payload-malformed', 'an event without a body');
    }
  }

  private open(instance: string, envelope: Envelope) {
    const { keys } = this.connections.ofInstance(instance);
    const opened = openEnvelope(envelope, EventSchema, {
      kind: 'event',
      // What an instance says is signed with the key that signs its answers.
      purpose: 'receipt',
      keys,
      audience: this.identity.hubId,
      direction: Direction.SPOKE_TO_HUB,
      nowMs: Date.now(),
      // It may have waited for this link for days; revisions, not clocks, put events in order.
      expiry: 'exempt',
    });
    checkKeyEpoch(opened.key, opened.header);
    return opened;
  }

  private async agentChanged(instance: string, snapshot: AgentSnapshot, signedAtMs: bigint): Promise<void> {
    const nowMs = Date.now();
    const { report, hasEnded } = reported(snapshot, instance, signedAtMs, nowMs);
    await this.checkOwner(report.agent_id, instance);
    this.agents.keep(report.agent_id, instance, hasEnded);
    const detail = { instance, state: report.snapshot.state, revision: report.revision };
    const audit = [{ kind: 'agent.reported', subject: report.agent_id, atMs: nowMs, detail }];
    await this.writer.write({ report, audit }, { whenAway: 'keep' });
  }

  /** Told by the stream of events; the agent's state does not change by it. */
  private async agentStalled(
    instance: string,
    { stalled, silentMs, reason, action, ...event }: AgentStalled,
  ): Promise<void> {
    const subject = agentId(event.agentId);
    if (!ACTIONS.includes(action)) throw new WireFault('payload-malformed', 'an action');
    await this.checkOwner(subject, instance);
    const why = stripControl(reason).slice(0, LONGEST_REASON);
    const detail = { instance, silentMs: Number(silentMs), ...(stalled ? { reason: why, action } : {}) };
    const kind = stalled ? 'agent.stalled' : 'agent.goes-on';
    await this.writer.write({ audit: [{ kind, subject, atMs: Date.now(), detail }] }, { whenAway: 'keep' });
  }

  private async checkOwner(agent: string, instance: string): Promise<void> {
    const owner = await this.agents.instanceOf(agent);
    if (owner !== undefined && owner !== instance) throw new WireFault('wrong-issuer', `${agent} is on ${owner}`);
  }
}
