import { WireFault, type Receipt } from '@capstan/protocol';

/** The cases of a receipt's result, `killedAll` as `killed-all`. */
export type ReceiptKind = Exclude<NonNullable<Receipt['result']['case']>, 'killedAll'> | 'killed-all';

/** What a receipt says happened. @throws {WireFault} `payload-malformed` where it says nothing */
export function receiptKind({ result }: Receipt): ReceiptKind {
  if (result.case === undefined) throw new WireFault('payload-malformed', 'the receipt has no result');
  return result.case === 'killedAll' ? 'killed-all' : result.case;
}
