import { Global, Module } from '@nestjs/common';
import { DatabaseService } from '../database/database.service.js';
import { RecordWriter } from '../database/record-writer.js';
import { ChainTail } from './chain-tail.js';
import { Freshness } from './freshness.js';
import { Presence } from './presence.js';
import { ReplicaBus } from './replica-bus.js';

/** What every room may ask of the other replicas: how to reach them, what they hold, whether we know what they know. */
@Global()
@Module({
  providers: [
    Freshness,
    Presence,
    ReplicaBus,
    {
      provide: ChainTail,
      useFactory: (database: DatabaseService, writer: RecordWriter, bus: ReplicaBus, freshness: Freshness) =>
        ChainTail.at(database, writer, bus, freshness),
      inject: [DatabaseService, RecordWriter, ReplicaBus, Freshness],
    },
  ],
  exports: [ChainTail, Freshness, Presence, ReplicaBus],
})
export class ReplicaStateModule {}
