import { Global, Module } from '@nestjs/common';
import { HubConfig } from '../hub.config.js';
import { HubIdentity } from './hub-identity.js';
import { InstanceController } from './instance.controller.js';

/** Who the hub is: its key, and the document that publishes it. */
@Global()
@Module({
  controllers: [InstanceController],
  providers: [
    { provide: HubIdentity, useFactory: (config: HubConfig) => HubIdentity.load(config), inject: [HubConfig] },
  ],
  exports: [HubIdentity],
})
export class IdentityModule {}
