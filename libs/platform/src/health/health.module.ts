import { type DynamicModule, type FactoryProvider, Module } from '@nestjs/common';
import {
  DEGRADATIONS,
  type Degradations,
  HealthController,
  READINESS_CHECKS,
  type ReadinessChecks,
} from './health.controller.js';

export type { ReadinessChecks };

export interface HealthOptions {
  imports?: NonNullable<DynamicModule['imports']>;
  /** What `checks` and `degradations` are called with. */
  inject?: NonNullable<FactoryProvider['inject']>;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- its parameters are whatever `inject` names; Nest types them so
  checks?: (...parts: any[]) => ReadinessChecks;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  degradations?: (...parts: any[]) => Degradations;
}

/** GET /health and GET /health/ready. */
@Module({})
export class HealthModule {
  static register(options: HealthOptions = {}): DynamicModule {
    const checks: FactoryProvider<ReadinessChecks> = {
      provide: READINESS_CHECKS,
      useFactory: options.checks ?? (() => ({})),
      inject: options.inject ?? [],
    };
    const degradations: FactoryProvider<Degradations> = {
      provide: DEGRADATIONS,
      useFactory: options.degradations ?? (() => ({})),
      inject: options.inject ?? [],
    };
    return {
      module: HealthModule,
      imports: options.imports ?? [],
      controllers: [HealthController],
      providers: [checks, degradations],
    };
  }
}
