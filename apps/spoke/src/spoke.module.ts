import { HealthModule, MetricsController, ReaperClient } from '@capstan/platform';
import { type DynamicModule, Module } from '@nestjs/common';
import { Audit } from './audit/audit.js';
import { AuditModule } from './audit/audit.module.js';
import { HeadExchange } from './audit/head-exchange.js';
import { HubLog } from './audit/hub-log.js';
import { StartNote } from './audit/start-note.js';
import { CommandReceiver } from './commands/command.receiver.js';
import { Refusals } from './commands/refusals.js';
import { SpawnHandler } from './commands/spawn.handler.js';
import { SpawnOfferer } from './commands/spawn.offerer.js';
import { StatusHandler } from './commands/status.handler.js';
import { ConnectionController } from './connection/connection.controller.js';
import { OwnerWishes } from './connection/owner-wishes.js';
import { Revocation } from './connection/revocation.js';
import { RevocationEpoch } from './connection/revocation-epoch.js';
import { SpokeConfig } from './config/spoke.config.js';
import { AgentEvents } from './events/agent-events.js';
import { loadIdentity, SpokeIdentity } from './instance/spoke-identity.js';
import { GrantSpend } from './grants/grant-spend.js';
import { Grants } from './grants/grants.js';
import { KillEpochs } from './kill/kill-epochs.js';
import { KillHandler } from './kill/kill.handler.js';
import { KillReceipts } from './kill/kill.receipts.js';
import { LastProbe } from './kill/last-probe.js';
import { RearmHandler } from './kill/rearm.handler.js';
import { Ledger } from './ledger/ledger.js';
import { Sweep } from './ledger/sweep.js';
import { HubStatements } from './keys/hub-statements.js';
import { KeysController } from './keys/keys.controller.js';
import { OwnKey } from './keys/own-key.js';
import { HeartbeatContents } from './link/heartbeat-contents.js';
import { LeaseRelay } from './lease/lease-relay.js';
import { LinkService } from './link/link.service.js';
import { LogWatches } from './live-logs/log-watches.js';
import { OrchestratorClient } from './orchestrator/orchestrator.client.js';
import { OwnerPolicyFile } from './policy/owner-policy.js';
import { AgentsHandler } from './queries/agents.handler.js';
import { CatalogHandler } from './queries/catalog.handler.js';
import { LogsHandler } from './queries/logs.handler.js';
import { QueryReceiver } from './queries/query.receiver.js';
import { WatchHandler } from './queries/watch.handler.js';
import { OutboxSender } from './receipts/outbox.sender.js';
import { OutboxStore } from './receipts/outbox.store.js';
import { ReceiptSigner } from './receipts/receipt.signer.js';
import { Origins } from './routing/origins.js';
import { PeerAgentsController } from './routing/peer-agents.controller.js';
import { PeerKeys } from './routing/peer-keys.js';
import { PeerOrders } from './routing/peer-orders.js';
import { PeerReceipts } from './routing/peer-receipts.js';
import { SealingKeyFile } from './secrets/sealing-key-file.js';
import { SecretReturns } from './secrets/secret-returns.js';
import { Secrets } from './secrets/secrets.js';
import { SpokeValkey } from './valkey/spoke-valkey.js';

/**
 * The spoke: the instance's endpoint in the federation. It holds the identity key, dials the hub, checks every command,
 * applies the owner's policy, and signs every answer. It runs nothing itself: spawns go to the orchestrator, kills to
 * the reaper.
 */
@Module({})
export class SpokeModule {
  static register(config: SpokeConfig): DynamicModule {
    const health = HealthModule.register({
      inject: [Audit],
      checks: (audit: Audit) => ({ audit: () => audit.ready() }),
    });
    return {
      module: SpokeModule,
      imports: [AuditModule.register(config.dir.auditLog), health],
      controllers: [ConnectionController, KeysController, PeerAgentsController, MetricsController],
      providers: [
        { provide: SpokeConfig, useValue: config },
        { provide: SpokeIdentity, useFactory: () => loadIdentity(config.dir, config.now) },
        { provide: ReaperClient, useFactory: () => new ReaperClient(config.dir.reaperSocket) },
        SpokeValkey,
        HeartbeatContents,
        RevocationEpoch,
        OwnerWishes,
        OwnKey,
        HubStatements,
        Revocation,
        OwnerPolicyFile,
        { provide: SealingKeyFile, useFactory: () => SealingKeyFile.load(config.dir.sealingKey) },
        Secrets,
        SecretReturns,
        GrantSpend,
        Grants,
        Ledger,
        OutboxStore,
        OutboxSender,
        ReceiptSigner,
        OrchestratorClient,
        Refusals,
        SpawnOfferer,
        SpawnHandler,
        StatusHandler,
        KillEpochs,
        KillReceipts,
        LastProbe,
        KillHandler,
        RearmHandler,
        PeerKeys,
        PeerReceipts,
        PeerOrders,
        Origins,
        CommandReceiver,
        LogWatches,
        LogsHandler,
        CatalogHandler,
        AgentsHandler,
        WatchHandler,
        QueryReceiver,
        AgentEvents,
        Sweep,
        LeaseRelay,
        HubLog,
        HeadExchange,
        StartNote,
        LinkService,
      ],
    };
  }
}
