import { type DynamicModule, Global, Module } from '@nestjs/common';
import { HealthModule, MetricsController } from '@capstan/platform';
import { AuthModule } from './auth/auth.module.js';
import { ConnectionsModule } from './connections/connections.module.js';
import { DatabaseModule } from './database/database.module.js';
import { DatabaseService } from './database/database.service.js';
import { EnrollmentModule } from './enrollment/enrollment.module.js';
import { FederationModule } from './federation/federation.module.js';
import { HubConfig } from './hub.config.js';
import { IdentityModule } from './identity/identity.module.js';

/** The configuration, wherever it is asked for. */
@Global()
@Module({})
class ConfigModule {
  static with(config: HubConfig): DynamicModule {
    return { module: ConfigModule, providers: [{ provide: HubConfig, useValue: config }], exports: [HubConfig] };
  }
}

/** The hub: admits instances, routes envelopes, keeps the record. */
@Module({})
export class HubModule {
  static with(config: HubConfig): DynamicModule {
    const health = HealthModule.register({
      inject: [DatabaseService],
      checks: (database: DatabaseService) => ({ database: () => database.ping() }),
    });
    return {
      module: HubModule,
      imports: [
        ConfigModule.with(config),
        DatabaseModule,
        IdentityModule,
        AuthModule,
        ConnectionsModule,
        EnrollmentModule,
        FederationModule,
        health,
      ],
      controllers: [MetricsController],
    };
  }
}
