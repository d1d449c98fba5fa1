import { Module } from '@nestjs/common';
import { ConnectionsModule } from '../connections/connections.module.js';
import { EnrollmentController } from './enrollment.controller.js';
import { EnrollmentService } from './enrollment.service.js';
import { PublicUrl } from './public-url.js';

/** How an instance becomes known to the hub. */
@Module({
  imports: [ConnectionsModule],
  controllers: [EnrollmentController],
  providers: [EnrollmentService, PublicUrl],
})
export class EnrollmentModule {}
