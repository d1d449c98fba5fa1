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
import { Outbox } from '../commands/outbox.js';
import { ConnectionsModule } from '../connections/connections.module.js';
import { EventIntake } from '../events/event.intake.js';
import { Inbound } from '../link/inbound.js';
import { LinkGateway } from '../link/link.gateway.js';
import { RefusalLog } from '../link/refusal-log.js';
import { Queries } from '../queries/queries.js';
import { ReceiptIntake } from '../receipts/receipt.intake.js';
import { ReceiptStore } from '../receipts/receipt.store.js';
import { UnmatchedReceipts } from '../receipts/unmatched-receipts.js';

/** The round of a command: issued, sent over a link, answered by a receipt that is verified and stored. */
@Module({
  imports: [ConnectionsModule],
  controllers: [AgentsController, CommandsController],
  providers: [
    AgentDirectory,
    AgentOrders,
    AgentStore,
    Answers,
    CommandBook,
    CommandDesk,
    CommandFactory,
    CommandStore,
    Deliveries,
    EventIntake,
    Inbound,
    LinkGateway,
    Outbox,
    Queries,
    ReceiptIntake,
    ReceiptStore,
    RefusalLog,
    UnmatchedReceipts,
  ],
})
export class FederationModule {}
