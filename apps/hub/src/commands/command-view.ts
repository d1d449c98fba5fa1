import type { ReceiptView } from '../receipts/receipt-view.js';
import type { CommandKind, CommandRecord, Refusal } from './command-record.js';
import type { CommandState } from './command-state.js';

/** A command as the API shows it. */
export interface CommandView {
  id: string;
  kind: CommandKind;
  instance: string;
  agentId: string;
  state: CommandState;
  refusal?: Refusal;
  createdAt: string;
  expiresAt: string;
  deliveredAt: string | null;
  settledAt: string | null;
  /** SHA-256 of the PAE of the command's envelope, hex. */
  digest: string;
  receipts: ReceiptView[];
}

export function commandView(record: CommandRecord, receipts: ReceiptView[]): CommandView {
  const { id, kind, instance, agentId, state, refusal, digest } = record;
  return {
    id,
    kind,
    instance,
    agentId,
    state,
    ...(refusal === null ? {} : { refusal }),
    createdAt: record.createdAt.toISOString(),
    expiresAt: record.expiresAt.toISOString(),
    deliveredAt: record.deliveredAt?.toISOString() ?? null,
    settledAt: record.settledAt?.toISOString() ?? null,
    digest,
    receipts,
  };
}
