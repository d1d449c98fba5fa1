import { Injectable } from '@nestjs/common';
import { asc, desc, eq, type SQL } from 'drizzle-orm';
import { decodeEnvelope, type Envelope, fromHex } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { commands, receipts } from '../database/schema.js';
import { takenOfRow } from './receipt-rows.js';
import { type ReceiptView, receiptView } from './receipt-view.js';

/** The newest receipts that are shown of one agent; one that is asked for its status all day has more. */
const MOST = 200;

/** Reads stored receipts. */
@Injectable()
export class ReceiptStore {
  constructor(private readonly database: DatabaseService) {}

  /** @param digest hex @throws where the database is away */
  async holds(digest: string): Promise<boolean> {
    const which = eq(receipts.digest, fromHex(digest));
    return (await this.database.db.select({ id: receipts.commandId }).from(receipts).where(which).limit(1)).length > 0;
  }

  ofCommand(commandId: string): Promise<ReceiptView[]> {
    return this.read(eq(receipts.commandId, commandId));
  }

  /** The agent's receipts, oldest first. */
  ofAgent(agentId: string): Promise<ReceiptView[]> {
    return this.read(eq(receipts.agentId, agentId));
  }

  /** The receipts as they were signed, oldest first. */
  async envelopesOf(commandId: string): Promise<Envelope[]> {
    const rows = await this.database.db
      .select({ envelope: receipts.envelope })
      .from(receipts)
      .where(eq(receipts.commandId, commandId))
      .orderBy(asc(receipts.sequence))
      .limit(MOST);
    return rows.map(({ envelope }) => decodeEnvelope(envelope));
  }

  private async read(which: SQL): Promise<ReceiptView[]> {
    const rows = await this.database.db
      .select({ receipt: receipts, command: commands.envelope })
      .from(receipts)
      .innerJoin(commands, eq(commands.id, receipts.commandId))
      .where(which)
      .orderBy(desc(receipts.sequence))
      .limit(MOST);
    return rows.reverse().map(({ receipt, command }) => receiptView(takenOfRow(receipt, command)));
  }
}
