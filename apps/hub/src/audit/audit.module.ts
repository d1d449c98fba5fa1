import { Module } from '@nestjs/common';
import { ConnectionsModule } from '../connections/connections.module.js';
import { AuditController } from './audit.controller.js';
import { AuditService } from './audit.service.js';
import { AuditTree } from './audit-tree.js';
import { HeadExchange } from './head-exchange.js';
import { InstanceLogs } from './instance-logs.js';

/** The hub's record as others can hold it to: read, proven, and its heads exchanged with those of the instances. */
@Module({
  imports: [ConnectionsModule],
  controllers: [AuditController],
  providers: [AuditService, AuditTree, HeadExchange, InstanceLogs],
})
export class AuditModule {}
