import { Injectable } from '@nestjs/common';
import { asc, desc, gt } from 'drizzle-orm';
import { DatabaseService } from '../database/database.service.js';
import { audit } from '../database/schema.js';
import { type HubEvent, hubEvent, isTold } from './hub-event.js';

/** Events after a cursor, and the sequence up to which there is nothing else. */
export interface EventPage {
  events: HubEvent[];
  last: bigint;
  /** Whether more is on disk already. */
  isFull: boolean;
}

const PAGE = 500;

/**
 * Reads events from the audit chain. Its sequence is a safe cursor where a serial is not: an entry is written only by
 * whoever has read, committed, the one before it, so that no smaller sequence can appear once a greater one is seen.
 */
@Injectable()
export class EventStore {
  constructor(private readonly database: DatabaseService) {}

  /** Sequence of the newest entry; 0 where there is none. */
  async head(): Promise<bigint> {
    const query = this.database.db.select({ sequence: audit.sequence }).from(audit);
    const [row] = await query.orderBy(desc(audit.sequence)).limit(1);
    return row?.sequence ?? 0n;
  }

  async after(cursor: bigint): Promise<EventPage> {
    const columns = { sequence: audit.sequence, kind: audit.kind, record: audit.record };
    const query = this.database.db.select(columns).from(audit).where(gt(audit.sequence, cursor));
    const rows = await query.orderBy(asc(audit.sequence)).limit(PAGE);
    return {
      events: rows.filter(({ kind }) => isTold(kind)).map(({ sequence, record }) => hubEvent(sequence, record)),
      last: rows.at(-1)?.sequence ?? cursor,
      isFull: rows.length === PAGE,
    };
  }
}
