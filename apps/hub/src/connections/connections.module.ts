import { Module } from '@nestjs/common';
import { ConnectionStore } from './connection.store.js';
import { ConnectionsController } from './connections.controller.js';
import { LinkRegistry } from './link.registry.js';
import { SessionEpochs } from './session-epochs.js';

/** Which instances this hub knows, in which state, and which of them hold a link. */
@Module({
  controllers: [ConnectionsController],
  providers: [ConnectionStore, LinkRegistry, SessionEpochs],
  exports: [ConnectionStore, LinkRegistry, SessionEpochs],
})
export class ConnectionsModule {}
