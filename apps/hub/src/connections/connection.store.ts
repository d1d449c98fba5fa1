import { Injectable, type OnModuleInit } from '@nestjs/common';
import { eq } from 'drizzle-orm';
import { createLogger } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { connections } from '../database/schema.js';
import type { Connection } from './connection.js';
import { readConnections } from './connection-rows.js';
import { isLive } from './connection-state.js';

/** Every connection, in memory as well as on disk: links and kills must not wait for the database. */
@Injectable()
export class ConnectionStore implements OnModuleInit {
  private readonly log = createLogger('hub.connections');
  private readonly byId = new Map<string, Connection>();
  /** The live connection of an instance; where it has none, its last one. */
  private readonly byInstance = new Map<string, Connection>();

  constructor(private readonly database: DatabaseService) {}

  async onModuleInit(): Promise<void> {
    for (const connection of await readConnections(this.database.db)) this.keep(connection);
  }

  all(): Connection[] {
    return [...this.byId.values()];
  }

  get(id: string): Connection | undefined {
    return this.byId.get(id);
  }

  /** The connection under which an instance is known. @throws WireFault `instance-unknown` */
  ofInstance(instanceId: string): Connection {
    const connection = this.byInstance.get(instanceId);
    if (connection === undefined) throw new WireFault('instance-unknown', instanceId);
    return connection;
  }

  find(instanceId: string): Connection | undefined {
    return this.byInstance.get(instanceId);
  }

  /** Who has pinned this key, under whatever connection it was. */
  ownerOfKey(keyId: string): Connection | undefined {
    return this.all().find(({ keys }) => keys.get(keyId) !== undefined);
  }

  /** Takes up a connection that was just committed. */
  keep(connection: Connection): void {
    this.byId.set(connection.id, connection);
    const known = this.byInstance.get(connection.instanceId);
    const isSuperseded =
      known !== undefined && known.id !== connection.id && isLive(known.state) && !isLive(connection.state);
    if (!isSuperseded) this.byInstance.set(connection.instanceId, connection);
  }

  /** Remembers when an instance was last heard; for people, so nothing waits for it. */
  sawInstance(instanceId: string): void {
    const connection = this.byInstance.get(instanceId);
    if (connection === undefined) return;
    const lastSeenAt = new Date();
    this.keep({ ...connection, lastSeenAt });
    this.database.db
      .update(connections)
      .set({ lastSeenAt })
      .where(eq(connections.id, connection.id))
      .catch((err: unknown) => {
        this.log.warn({ err, instance: instanceId, msg: 'last seen was not stored' });
      });
  }
}
