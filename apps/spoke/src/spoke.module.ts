import { AuditLog } from '@capstan/evidence';
import { ReaperClient } from '@capstan/platform';
import { type DynamicModule, Module } from '@nestjs/common';
import { Audit } from './audit/audit.js';
import { CommandReceiver } from './commands/command.receiver.js';
import { Refusals } from './commands/refusals.js';
import { SpawnHandler } from './commands/spawn.handler.js';
import { SpawnOfferer } from './commands/spawn.offerer.js';
import { StatusHandler } from './commands/status.handler.js';
import { SpokeConfig } from './config/spoke.config.js';
import { AgentEvents } from './events/agent-events.js';
import { loadIdentity, SpokeIdentity } from './instance/spoke-identity.js';
import { KillHandler } from './kill/kill.handler.js';
import { KillReceipts } from './kill/kill.receipts.js';
import { Ledger } from './ledger/ledger.js';
import { Sweep } from './ledger/sweep.js';
import { LinkService } from './link/link.service.js';
import { OrchestratorClient } from './orchestrator/orchestrator.client.js';
import { OwnerPolicyFile } from './policy/owner-policy.js';
import { LogsHandler } from './queries/logs.handler.js';
import { OutboxSender } from './receipts/outbox.sender.js';
import { OutboxStore } from './receipts/outbox.store.js';
import { ReceiptSigner } from './receipts/receipt.signer.js';
import { SpokeValkey } from './valkey/spoke-valkey.js';

/**
 * The spoke: the instance's endpoint in the federation. It holds the identity key, dials the hub, checks every command,
 * applies the owner's policy, and signs every answer. It runs nothing itself: spawns go to the orchestrator, kills to
 * the reaper.
 */
@Module({})
export class SpokeModule {
  static register(config: SpokeConfig): DynamicModule {
    return {
      module: SpokeModule,
      providers: [
        { provide: SpokeConfig, useValue: config },
        { provide: SpokeIdentity, useFactory: () => loadIdentity(config.dir) },
        { provide: Audit, useFactory: async () => new Audit(await AuditLog.open(config.dir.auditLog)) },
        { provide: ReaperClient, useFactory: () => new ReaperClient(config.dir.reaperSocket) },
        SpokeValkey,
        OwnerPolicyFile,
        Ledger,
        OutboxStore,
        OutboxSender,
        ReceiptSigner,
        OrchestratorClient,
        Refusals,
        SpawnOfferer,
        SpawnHandler,
        StatusHandler,
        KillReceipts,
        KillHandler,
        CommandReceiver,
        LogsHandler,
        AgentEvents,
        Sweep,
        LinkService,
      ],
    };
  }
}
