import { Module } from '@nestjs/common';
import { ConnectionsModule } from '../connections/connections.module.js';
import { HubKeys } from './hub-keys.js';
import { InstanceKeys } from './instance-keys.js';
import { KeysController } from './keys.controller.js';
import { StatementPush } from './statement-push.js';

/** How keys are replaced: the hub's own, of which every instance is told, and those of the instances. */
@Module({
  imports: [ConnectionsModule],
  controllers: [KeysController],
  providers: [HubKeys, InstanceKeys, StatementPush],
  exports: [HubKeys, InstanceKeys, StatementPush],
})
export class KeysModule {}
