import { WireFault, type Receipt } from '@capstan/protocol';

export type ReceiptKind = 'refused' | 'spawned' | 'status' | 'killed' | 'killed-all' | 'finished' | 'logs';

/** What a receipt says happened. @throws {WireFault} `payload-malformed` where it says nothing */
export function receiptKind({ result }: Receipt): ReceiptKind {
  if (result.case === undefined) throw new WireFault('payload-malformed', 'the receipt has no result');
  return result.case === 'killedAll' ? 'killed-all' : result.case;
}
