import type { ReceiptKind } from '@capstan/evidence';
import type { Envelope, Receipt } from '@capstan/protocol';

/** A receipt whose signatures hold and that answers a command or query of this hub. */
export interface TakenReceipt {
  readonly kind: ReceiptKind;
  readonly envelope: Envelope;
  /** The command or query that it answers. */
  readonly command: Envelope;
  readonly receipt: Receipt;
  readonly receivedAt: Date;
}
