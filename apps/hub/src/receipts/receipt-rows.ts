import type { ReceiptKind } from '@capstan/evidence';
import { decodeEnvelope, decodeStrict, ReceiptSchema } from '@capstan/protocol';
import { envelopeText } from '../commands/envelope-text.js';
import type { NewReceipt } from '../database/record-change.js';
import type { receipts } from '../database/schema.js';
import type { TakenReceipt } from './taken-receipt.js';

/** @param digest SHA-256 of the receipt's PAE, hex. */
export function newReceiptRow(taken: TakenReceipt, digest: string, instance: string): NewReceipt {
  const { receipt, kind, envelope, receivedAt } = taken;
  return {
    digest,
    command_id: receipt.commandId,
    instance,
    agent_id: receipt.agentId,
    kind,
    envelope: envelopeText(envelope),
    received_at: receivedAt.toISOString(),
  };
}

/** A stored receipt and the stored envelope of the command that it answers. */
export function takenOfRow(row: typeof receipts.$inferSelect, command: Uint8Array): TakenReceipt {
  const envelope = decodeEnvelope(row.envelope);
  return {
    kind: row.kind as ReceiptKind,
    envelope,
    command: decodeEnvelope(command),
    receipt: decodeStrict(ReceiptSchema, envelope.payload),
    receivedAt: row.receivedAt,
  };
}
