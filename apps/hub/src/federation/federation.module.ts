import { Module } from '@nestjs/common';
import { AgentDirectory } from '../agents/agent.directory.js';
import { AgentOrders } from '../agents/agent-orders.js';
import { AgentStore } from '../agents/agent.store.js';
import { AgentsController } from '../agents/agents.controller.js';
import { Answers } from '../commands/answers.js';
import { CommandBook } from '../commands/command.book.js';
import { CommandDesk } from '../commands/command-desk.js';
import { CommandFactory } from '../commands/command-factory.js';
import { CommandStore } from '../commands/command.store.js';
import { CommandsController } from '../commands/commands.controller.js';
import { Deliveries } from '../commands/deliveries.js';
import { DroppedCommands } from '../commands/dropped-commands.js';
import { Outbox } from '../commands/outbox.js';
import { AuthModule } from '../auth/auth.module.js';
import { ConnectionsModule } from '../connections/connections.module.js';
import { EventIntake } from '../events/event.intake.js';
import { KeysModule } from '../keys/keys.module.js';
import { KillStateModule } from '../killswitch/kill-state.module.js';
import { KillswitchController } from '../killswitch/killswitch.controller.js';
import { Killswitch } from '../killswitch/killswitch.js';
import { ProbesController } from '../killswitch/probes.controller.js';
import { Probes } from '../killswitch/probes.js';
import { Rearming } from '../killswitch/rearming.js';
import { RenewedKills } from '../killswitch/renewed-kills.js';
import { WithdrawnSpawns } from '../killswitch/withdrawn-spawns.js';
import { LeasesModule } from '../leases/leases.module.js';
import { Inbound } from '../link/inbound.js';
import { LinkGateway } from '../link/link.gateway.js';
import { LogFollower } from '../live-logs/log-follower.js';
import { LogStreamController } from '../live-logs/log-stream.controller.js';
import { LogWatches } from '../live-logs/log-watches.js';
import { RefusalLog } from '../link/refusal-log.js';
import { InstanceQueriesController } from '../queries/instance-queries.controller.js';
import { Queries } from '../queries/queries.js';
import { ReceiptIntake } from '../receipts/receipt.intake.js';
import { ReceiptStore } from '../receipts/receipt.store.js';
import { UnmatchedReceipts } from '../receipts/unmatched-receipts.js';
import { CommandSync } from '../replicas/command-sync.js';
import { ForeignKills } from '../replicas/foreign-kills.js';
import { LinkRelay } from '../replicas/link-relay.js';
import { PresenceAnnouncer } from '../replicas/presence.announcer.js';
import { ReplicaSync } from '../replicas/replica-sync.js';
import { EventStore } from '../streams/event.store.js';
import { EventTail } from '../streams/event-tail.js';
import { EventsController } from '../streams/events.controller.js';
import { OpenStreams } from '../streams/open-streams.js';
import { Admissions } from '../routing/admissions.js';
import { OperatorStore } from '../routing/operator.store.js';
import { OperatorsController } from '../routing/operators.controller.js';
import { ResultForwarder } from '../routing/result-forwarder.js';
import { RoutedCommandsController } from '../routing/routed-commands.controller.js';
import { RoutedDrops } from '../routing/routed-drops.js';
import { RoutingDesk } from '../routing/routing-desk.js';
import { RoutingPolicyFile } from '../routing/routing-policy.js';

/** The round of a command: issued, sent over a link, answered by a receipt that is verified and stored. */
@Module({
  imports: [AuthModule, ConnectionsModule, KeysModule, KillStateModule, LeasesModule],
  controllers: [
    AgentsController,
    CommandsController,
    EventsController,
    InstanceQueriesController,
    KillswitchController,
    LogStreamController,
    OperatorsController,
    ProbesController,
    RoutedCommandsController,
  ],
  providers: [
    Admissions,
    AgentDirectory,
    AgentOrders,
    AgentStore,
    Answers,
    CommandBook,
    CommandDesk,
    CommandFactory,
    CommandStore,
    CommandSync,
    Deliveries,
    DroppedCommands,
    EventIntake,
    EventStore,
    EventTail,
    ForeignKills,
    Inbound,
    Killswitch,
    LinkGateway,
    LinkRelay,
    LogFollower,
    LogWatches,
    OpenStreams,
    OperatorStore,
    Outbox,
    PresenceAnnouncer,
    Probes,
    Queries,
    Rearming,
    RenewedKills,
    ReceiptIntake,
    ReceiptStore,
    RefusalLog,
    ReplicaSync,
    ResultForwarder,
    RoutedDrops,
    RoutingDesk,
    RoutingPolicyFile,
    UnmatchedReceipts,
    WithdrawnSpawns,
  ],
})
export class FederationModule {}
