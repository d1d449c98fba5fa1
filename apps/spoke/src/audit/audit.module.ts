import { AuditLog } from '@capstan/evidence';
import { type DynamicModule, Module } from '@nestjs/common';
import { Audit } from './audit.js';

/** The instance's record, for every room that has something to write down, and for the health of the whole. */
@Module({})
export class AuditModule {
  static register(file: string): DynamicModule {
    const audit = { provide: Audit, useFactory: () => new Audit(AuditLog.open(file)) };
    return { module: AuditModule, global: true, providers: [audit], exports: [Audit] };
  }
}
