import { and, asc, desc, eq } from 'drizzle-orm';
import type { TreeState } from '@capstan/evidence';
import type { Database } from '../database/database.service.js';
import { treeHeads } from '../database/schema.js';

/** One in each hour stays for ever, besides the newest: proofs tie those between to these. */
const HOUR_MS = 3_600_000;

/** A head as it is kept. */
export interface KeptHead extends TreeState {
  /** The envelope, serialized. */
  readonly envelope: Uint8Array;
  readonly receivedAt: Date;
}

/** The newest head that is kept of a log. */
export async function newestHead(db: Database, logId: string): Promise<KeptHead | undefined> {
  const [row] = await db
    .select()
    .from(treeHeads)
    .where(eq(treeHeads.logId, logId))
    .orderBy(desc(treeHeads.size))
    .limit(1);
  return row === undefined ? undefined : headOf(row);
}

/** Every head that is kept of a log, oldest first; about twenty-five for a day. */
export async function keptHeads(db: Database, logId: string): Promise<KeptHead[]> {
  const rows = await db.select().from(treeHeads).where(eq(treeHeads.logId, logId)).orderBy(asc(treeHeads.size));
  return rows.map(headOf);
}

/** The heads of one log on their way to disk. */
export class KeptHeads {
  private hourlyAt: number;
  private isNewestHourly = true;

  constructor(
    private readonly db: Database,
    private readonly logId: string,
    private newest: KeptHead | undefined,
  ) {
    this.hourlyAt = newest?.receivedAt.getTime() ?? -Infinity;
  }

  /** Resolves once the head is on disk. The one before it goes, unless it is its hour's. */
  async keep(head: KeptHead): Promise<void> {
    const { logId } = this;
    const values = { logId, ...head, size: BigInt(head.size) };
    await this.db.insert(treeHeads).values(values).onConflictDoNothing();
    const before = this.newest;
    const goes = before !== undefined && !this.isNewestHourly;
    this.newest = head;
    const isHourly = head.receivedAt.getTime() - this.hourlyAt >= HOUR_MS;
    this.isNewestHourly = isHourly;
    if (isHourly) this.hourlyAt = head.receivedAt.getTime();
    if (!goes) return;
    await this.db.delete(treeHeads).where(and(eq(treeHeads.logId, logId), eq(treeHeads.size, BigInt(before.size))));
  }
}

function headOf({ size, root, envelope, receivedAt }: typeof treeHeads.$inferSelect): KeptHead {
  return { size: Number(size), root, envelope, receivedAt };
}
