import { Injectable, type OnModuleInit } from '@nestjs/common';
import { eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import { LocalFault } from '@capstan/platform';
import { DatabaseService } from '../database/database.service.js';
import { epochs } from '../database/schema.js';
import { HeartbeatContents } from '../link/heartbeat-contents.js';

const NAME = 'revocation';

/** Counts revocations, on disk; each Welcome and heartbeat tells it, so that a hub that was set back is noticed. */
@Injectable()
export class RevocationEpoch implements OnModuleInit {
  private value = 0n;

  constructor(
    private readonly database: DatabaseService,
    heartbeats: HeartbeatContents,
  ) {
    heartbeats.register(() => ({ revocationEpoch: this.value }));
  }

  /** As it was committed last. */
  get current(): bigint {
    return this.value;
  }

  onModuleInit(): Promise<void> {
    return this.reload();
  }

  /** Takes up what another replica has committed. */
  async reload(): Promise<void> {
    const [row] = await this.database.db.select().from(epochs).where(eq(epochs.name, NAME));
    if (row !== undefined) this.committed(row.value);
  }

  /** Raises it in the transaction of `client`; call `committed` with the result once that is committed. */
  async raise(client: pg.Client): Promise<bigint> {
    const [row] = await drizzle(client)
      .insert(epochs)
      .values({ name: NAME, value: 1n })
      .onConflictDoUpdate({ target: epochs.name, set: { value: sql`${epochs.value} + 1` } })
      .returning({ value: epochs.value });
    if (row === undefined) throw new LocalFault('database-content', 'The revocation epoch was not raised.');
    return row.value;
  }

  committed(epoch: bigint): void {
    if (epoch > this.value) this.value = epoch;
  }
}
