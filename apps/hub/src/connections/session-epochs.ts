import { Injectable, type OnModuleInit } from '@nestjs/common';
import { eq, sql } from 'drizzle-orm';
import { createLogger } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { connections } from '../database/schema.js';

/** Sessions of one instance between two writes: reconnecting must work while the database is away. */
const BLOCK = 1_000n;
/** Beyond this a peer's claim is no memory but an attack on the counter. */
const MOST = 1n << 60n;

/** Session epochs only grow, over restarts too: a block is reserved on disk before any of it is handed out. */
@Injectable()
export class SessionEpochs implements OnModuleInit {
  private readonly log = createLogger('hub.sessions');
  private readonly epochs = new Map<string, { last: bigint; reserved: bigint }>();

  constructor(private readonly database: DatabaseService) {}

  async onModuleInit(): Promise<void> {
    const rows = await this.database.db
      .update(connections)
      .set({ sessionEpoch: sql`${connections.sessionEpoch} + ${BLOCK}` })
      .returning({ id: connections.id, end: connections.sessionEpoch });
    for (const { id, end } of rows) this.epochs.set(id, { last: end - BLOCK, reserved: end });
  }

  /** Higher than every earlier one and than `lastSeen`. @throws WireFault `frame-malformed` for an absurd claim */
  next(connectionId: string, lastSeen: bigint): bigint {
    if (lastSeen > MOST) throw new WireFault('frame-malformed', 'session epoch');
    const known = this.epochs.get(connectionId) ?? { last: 0n, reserved: 0n };
    const last = (known.last > lastSeen ? known.last : lastSeen) + 1n;
    const reserved = last + BLOCK / 2n > known.reserved ? last + BLOCK : known.reserved;
    this.epochs.set(connectionId, { last, reserved });
    if (reserved > known.reserved) this.reserve(connectionId, reserved);
    return last;
  }

  private reserve(connectionId: string, end: bigint): void {
    this.database.db
      .update(connections)
      .set({ sessionEpoch: sql`greatest(${connections.sessionEpoch}, ${end})` })
      .where(eq(connections.id, connectionId))
      .catch((err: unknown) => {
        this.log.warn({ err, connection: connectionId, msg: 'session epochs were not reserved' });
      });
  }
}
