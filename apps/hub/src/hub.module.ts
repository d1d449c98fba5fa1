import { type DynamicModule, Global, Module } from '@nestjs/common';
import { HealthModule, MetricsController } from '@capstan/platform';
import { AuditModule } from './audit/audit.module.js';
import { AuthModule } from './auth/auth.module.js';
import { ConnectionsModule } from './connections/connections.module.js';
import { DatabaseModule } from './database/database.module.js';
import { DatabaseService } from './database/database.service.js';
import { EnrollmentModule } from './enrollment/enrollment.module.js';
import { FederationModule } from './federation/federation.module.js';
import { HubConfig } from './hub.config.js';
import { HubTls } from './tls/hub-tls.js';
import { TlsRenewal } from './tls/tls.renewal.js';
import { IdentityModule } from './identity/identity.module.js';
import { Freshness } from './replicas/freshness.js';
import { ReplicaBus } from './replicas/replica-bus.js';
import { ReplicaStateModule } from './replicas/replica-state.module.js';
import { HeartbeatModule } from './link/heartbeat.module.js';

/** The configuration, wherever it is asked for. */
@Global()
@Module({})
class ConfigModule {
  static with(config: HubConfig, tls: HubTls): DynamicModule {
    const providers = [{ provide: HubConfig, useValue: config }, { provide: HubTls, useValue: tls }, TlsRenewal];
    return { module: ConfigModule, providers, exports: [HubConfig, HubTls] };
  }
}

/** The hub: admits instances, routes envelopes, keeps the record. */
@Module({})
export class HubModule {
  static with(config: HubConfig, tls: HubTls = HubTls.off): DynamicModule {
    const health = HealthModule.register({
      inject: [DatabaseService, ReplicaBus, Freshness],
      checks: (database: DatabaseService) => ({ database: () => database.ping() }),
      degradations: (_database: DatabaseService, bus: ReplicaBus, freshness: Freshness) => ({
        valkey: () => bus.isReplicated && !bus.isUp,
        revocations: () => !freshness.isFresh,
      }),
    });
    return {
      module: HubModule,
      imports: [
        ConfigModule.with(config, tls),
        DatabaseModule,
        IdentityModule,
        ReplicaStateModule,
        HeartbeatModule,
        AuthModule,
        ConnectionsModule,
        EnrollmentModule,
        FederationModule,
        AuditModule,
        health,
      ],
      controllers: [MetricsController],
    };
  }
}
