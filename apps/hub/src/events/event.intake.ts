import { Injectable } from '@nestjs/common';
import { openEnvelope } from '@capstan/identity';
import { type AgentSnapshot, Direction, type Envelope, EventSchema, toHex, WireFault } from '@capstan/protocol';
import { AgentDirectory } from '../agents/agent.directory.js';
import { reported } from '../agents/agent-report.js';
import { RecentMap } from '../commands/recent-map.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { ConnectionWishes } from '../connections/connection-wishes.js';
import { RecordWriter } from '../database/record-writer.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { LogWatches } from '../live-logs/log-watches.js';

/** Digests of events that are stored; a spoke repeats what it has not heard acknowledged. */
const MOST_REMEMBERED = 5_000;

/** Takes what instances tell unasked. */
@Injectable()
export class EventIntake {
  private readonly stored = new RecentMap<string, true>(MOST_REMEMBERED);

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly agents: AgentDirectory,
    private readonly writer: RecordWriter,
    private readonly watches: LogWatches,
    private readonly wishes: ConnectionWishes,
  ) {}

  /**
   * Resolves once the event is on disk. An older revision than the one that is known changes nothing.
   *
   * @throws WireFault why it is refused
   */
  async take(instance: string, envelope: Envelope): Promise<void> {
    const { keys } = this.connections.ofInstance(instance);
    const { payload, header, digest } = openEnvelope(envelope, EventSchema, {
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
    switch (payload.body.case) {
      case 'agentChanged': {
        const hex = toHex(digest);
        if (this.stored.has(hex)) return;
        await this.agentChanged(instance, payload.body.value, header.issuedAtMs);
        this.stored.set(hex, true);
        return;
      }
      case 'connectionWish':
        await this.wishes.take(instance, payload.body.value, header.issuedAtMs);
        return;
      case 'logsAppended':
        this.watches.take(instance, payload.body.value);
        return;
      case undefined:
        throw new WireFault('payload-malformed', 'an event without a body');
    }
  }

  private async agentChanged(instance: string, snapshot: AgentSnapshot, signedAtMs: bigint): Promise<void> {
    const nowMs = Date.now();
    const { report, hasEnded } = reported(snapshot, instance, signedAtMs, nowMs);
    const owner = await this.agents.instanceOf(report.agent_id);
    if (owner !== undefined && owner !== instance)
      throw new WireFault('wrong-issuer', `${report.agent_id} is on ${owner}`);
    this.agents.keep(report.agent_id, instance, hasEnded);
    const detail = { instance, state: report.snapshot.state, revision: report.revision };
    const audit = [{ kind: 'agent.reported', subject: report.agent_id, atMs: nowMs, detail }];
    await this.writer.write({ report, audit }, { whenAway: 'keep' });
  }
}
