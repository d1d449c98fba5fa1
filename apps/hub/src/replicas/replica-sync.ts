import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { createLogger } from '@capstan/platform';
import { create, fromHex, KillEpochSchema, RejectionSchema } from '@capstan/protocol';
import { AgentDirectory } from '../agents/agent.directory.js';
import { TokenStore } from '../auth/token.store.js';
import { ConnectionMoves } from '../connections/connection-moves.js';
import { readConnections } from '../connections/connection-rows.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { RevocationEpoch } from '../connections/revocation-epoch.js';
import { DatabaseService } from '../database/database.service.js';
import { HubKeys } from '../keys/hub-keys.js';
import { InstanceKeys } from '../keys/instance-keys.js';
import { KillEpochs } from '../killswitch/kill-epochs.js';
import { ProbeStore } from '../killswitch/probe.store.js';
import { HeartbeatContents } from '../link/heartbeat-contents.js';
import { Queries } from '../queries/queries.js';
import { OperatorStore } from '../routing/operator.store.js';
import { type ChainEntry, ChainTail } from './chain-tail.js';
import { CommandSync } from './command-sync.js';
import { ReplicaBus } from './replica-bus.js';

const PROBES_MS = 2_000;
const OVER = ['completed', 'failed', 'killed'];

/** Keeps what this replica has in memory in step with what the others have written. */
@Injectable()
export class ReplicaSync implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = createLogger('hub.replicas');
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly bus: ReplicaBus,
    private readonly tail: ChainTail,
    private readonly database: DatabaseService,
    private readonly connections: ConnectionStore,
    private readonly moves: ConnectionMoves,
    private readonly revocations: RevocationEpoch,
    private readonly tokens: TokenStore,
    private readonly operators: OperatorStore,
    private readonly epochs: KillEpochs,
    private readonly probes: ProbeStore,
    private readonly agents: AgentDirectory,
    private readonly commands: CommandSync,
    private readonly queries: Queries,
    private readonly heartbeats: HeartbeatContents,
    private readonly hubKeys: HubKeys,
    private readonly instanceKeys: InstanceKeys,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    if (!this.bus.isReplicated) return;
    this.bus.on('rejected', ({ instance, digest, code }) => {
      this.queries.rejected(instance, create(RejectionSchema, { digest: fromHex(digest), code }));
    });
    this.shareEpochs();
    await this.tokens.reload();
    await this.tail.follow((entries) => this.take(entries));
    this.timer = setInterval(() => {
      // Probes are no part of the chain: they are asked anew all the time.
      this.probes.reload().catch(() => undefined);
    }, PROBES_MS);
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** What a reaper tells in its heartbeats must be known where a kill-all is pursued. */
  private shareEpochs(): void {
    this.heartbeats.onReceived(({ peerId: instance }, { killEpochs }) => {
      const epochs = killEpochs.map(({ scope, scopeId, epoch }) => ({ scope, scopeId, epoch: String(epoch) }));
      this.bus.publish({ kind: 'told', instance, epochs });
    });
    this.bus.on('told', ({ instance, epochs }) => {
      const told = epochs.map(({ epoch, ...scope }) => create(KillEpochSchema, { ...scope, epoch: BigInt(epoch) }));
      this.epochs.hearElsewhere(instance, told);
    });
  }

  /** What shuts somebody out comes before what lets somebody in. */
  private async take(entries: readonly ChainEntry[]): Promise<void> {
    const of = (prefix: string): readonly ChainEntry[] => entries.filter(({ kind }) => kind.startsWith(prefix));
    const connections = of('connection.');
    const operators = of('operator.');
    const orders = of('command.');
    const receipts = of('receipt.stored');
    const replaced = of('key.replaced').map(({ subject }) => subject);
    await this.reloadConnections([...new Set([...connections.map(({ subject }) => subject), ...replaced])]);
    for (const id of replaced) this.instanceKeys.adopted(id);
    if (replaced.length > 0) await this.hubKeys.reload();
    if (operators.length > 0) await this.operators.reload();
    if (connections.length + operators.length + replaced.length > 0) await this.revocations.reload();
    if (of('token.').length > 0) await this.tokens.reload();
    const isStopped = orders.some(({ detail }) => detail.command === 'agent.kill-all');
    if (isStopped || of('killswitch.').length > 0) await this.epochs.reload();
    const about = [...orders, ...receipts, ...of('kill.')];
    await this.commands.commands([...new Set(about.map(({ subject }) => subject))], successorsIn(orders));
    const wanted = receipts.filter(({ subject }) => this.commands.isWanted(subject));
    await this.commands.receipts(wanted.map(({ detail }) => String(detail.receipt)));
    for (const entry of of('agent.reported')) this.reported(entry);
    for (const entry of receipts) this.ended(entry);
  }

  private async reloadConnections(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    // Read again where this replica has moved one meanwhile: what was read may be from before that.
    for (let attempt = 0; ; attempt++) {
      const before = ids.map((id) => this.connections.get(id));
      const rows = await readConnections(this.database.db, ids);
      const isStill = ids.every((id, at) => this.connections.get(id) === before[at]);
      if (!isStill && attempt < 10) continue;
      for (const connection of rows) this.moves.adopt(connection);
      this.log.debug({ ids, msg: 'connections were read again' });
      return;
    }
  }

  private reported({ subject, detail: { instance, state } }: ChainEntry): void {
    if (typeof instance === 'string') this.agents.keep(subject, instance, OVER.includes(String(state)));
  }

  private ended({ detail: { agent, instance, result } }: ChainEntry): void {
    if (result !== 'finished' || typeof agent !== 'string' || typeof instance !== 'string') return;
    this.agents.keep(agent, instance, true);
  }
}

/** By the command that is over: the one that serves in its place. */
function successorsIn(orders: readonly ChainEntry[]): ReadonlyMap<string, string> {
  const superseded = orders.filter(({ kind }) => kind === 'command.superseded');
  return new Map(superseded.map(({ subject, detail }) => [subject, String(detail.by)]));
}
