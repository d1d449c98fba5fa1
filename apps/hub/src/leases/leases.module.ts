import { Module } from '@nestjs/common';
import { ConnectionsModule } from '../connections/connections.module.js';
import { KillStateModule } from '../killswitch/kill-state.module.js';
import { LeaseRenewals } from './lease-renewals.js';
import { LeaseTerms } from './lease-terms.js';
import { Leases } from './leases.js';

/** The hub's word by which remote agents live, and by when they are dead without it. */
@Module({
  imports: [ConnectionsModule, KillStateModule],
  providers: [LeaseRenewals, LeaseTerms, Leases],
  exports: [LeaseRenewals, LeaseTerms, Leases],
})
export class LeasesModule {}
