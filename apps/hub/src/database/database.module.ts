import { Global, Module } from '@nestjs/common';
import { HubConfig } from '../hub.config.js';
import { DatabaseService } from './database.service.js';
import { RecordWriter } from './record-writer.js';

/** PostgreSQL, the hub's only durable state besides its key. Whoever injects the service finds the schema up to date. */
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
    RecordWriter,
  ],
  exports: [DatabaseService, RecordWriter],
})
export class DatabaseModule {}
