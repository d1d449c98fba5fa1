import { Module } from '@nestjs/common';
import { KillStateModule } from '../killswitch/kill-state.module.js';
import { AuditConflicts } from './audit-conflicts.js';
import { ConnectionMoves } from './connection-moves.js';
import { ConnectionStore } from './connection.store.js';
import { ConnectionWishes } from './connection-wishes.js';
import { ConnectionsController } from './connections.controller.js';
import { EnrollmentStatementController } from './enrollment-statement.controller.js';
import { LinkCloser } from './link-closer.js';
import { LinkRegistry } from './link.registry.js';
import { RevocationEpoch } from './revocation-epoch.js';
import { SessionEpochs } from './session-epochs.js';

/** Which instances this hub knows, in which state, who may move them there, and which of them hold a link. */
@Module({
  imports: [KillStateModule],
  controllers: [ConnectionsController, EnrollmentStatementController],
  providers: [
    AuditConflicts,
    ConnectionMoves,
    ConnectionStore,
    ConnectionWishes,
    LinkCloser,
    LinkRegistry,
    RevocationEpoch,
    SessionEpochs,
  ],
  exports: [
    AuditConflicts,
    ConnectionMoves,
    ConnectionStore,
    ConnectionWishes,
    LinkCloser,
    LinkRegistry,
    RevocationEpoch,
    SessionEpochs,
  ],
})
export class ConnectionsModule {}
