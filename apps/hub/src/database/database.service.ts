import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';
import { createLogger, LocalFault } from '@capstan/platform';
import { HubConfig } from '../hub.config.js';
import { migrationsFolder } from './migrations.js';
import * as schema from './schema.js';

const POOL_SIZE = 8;
const CONNECT_MS = 2_000;
const QUERY_MS = 10_000;
/** Any number, the same in every hub: two that start at once migrate one after the other. */
const MIGRATION_LOCK = 7_400_001;

export type Database = NodePgDatabase<typeof schema>;

/** The hub's reads, and its migrations. What must be on disk before it is answered goes through RecordWriter. */
@Injectable()
export class DatabaseService implements OnApplicationShutdown {
  readonly db: Database;
  private readonly pool: pg.Pool;

  constructor(private readonly config: HubConfig) {
    this.pool = new pg.Pool({ ...connectionOptions(config), max: POOL_SIZE });
    const log = createLogger('hub.database');
    // An idle client that loses its server must not end the process.
    this.pool.on('error', (err) => {
      log.warn({ err, msg: 'an idle database connection was lost' });
    });
    this.db = drizzle(this.pool, { schema });
  }

  /** Brings the schema up to date. @throws LocalFault `database-unavailable`, `database-migration` */
  async migrate(): Promise<void> {
    const client = await this.connect();
    try {
      await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
      await migrate(drizzle(client), { migrationsFolder: migrationsFolder() });
    } catch (cause) {
      if (cause instanceof LocalFault) throw cause;
      throw new LocalFault('database-migration', 'The database could not be brought up to date.', undefined, { cause });
    } finally {
      client.release(true);
    }
  }

  /** Rejects while the database cannot be used. */
  async ping(): Promise<void> {
    await this.pool.query('SELECT 1');
  }

  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
  }

  private async connect(): Promise<pg.PoolClient> {
    try {
      return await this.pool.connect();
    } catch (cause) {
      throw new LocalFault(
        'database-unavailable',
        'The database of CAPSTAN_DATABASE_URL cannot be reached.',
        undefined,
        { cause },
      );
    }
  }
}

/** How every connection of the hub is made. */
export function connectionOptions(config: HubConfig): pg.ClientConfig {
  return {
    connectionString: config.databaseUrl,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: QUERY_MS,
    statement_timeout: QUERY_MS,
    application_name: `capstan-hub ${config.hubId}`,
    keepAlive: true,
  };
}
