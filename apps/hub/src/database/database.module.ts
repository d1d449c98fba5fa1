import { join } from 'node:path';
import { Global, Module } from '@nestjs/common';
import { HubConfig } from '../hub.config.js';
import { KillJournal } from '../kill-journal/kill-journal.js';
import { DatabaseService } from './database.service.js';
import { replayKills } from './kill-replay.js';
import type { RecordChange } from './record-change.js';
import { RecordWriter } from './record-writer.js';

/**
 * PostgreSQL, the hub's only durable state besides its keys. Whoever injects the service finds the schema up to date, and
 * the kills in it that an earlier life had not brought there.
 */
@Global()
@Module({
  providers: [
    {
      provide: DatabaseService,
      useFactory: async (config: HubConfig) => {
        const database = new DatabaseService(config);
        await database.migrate();
        return database;
      },
      inject: [HubConfig],
    },
    {
      provide: RecordWriter,
      useFactory: async (config: HubConfig, database: DatabaseService) => {
        const journal = new KillJournal<RecordChange>(join(config.stateDirectory, 'kills'));
        const writer = new RecordWriter(config, journal);
        await replayKills(journal, writer, database);
        await journal.prepare();
        return writer;
      },
      inject: [HubConfig, DatabaseService],
    },
  ],
  exports: [DatabaseService, RecordWriter],
})
export class DatabaseModule {}
