import { writeFile } from 'node:fs/promises';
import { describeReceipt, type ReceiptBundle, type VerifiedReceipt, verifyReceipt } from '@capstan/evidence';
import { loadTrust } from '@capstan/identity';
import type { MeshContext, ReceiptView } from '@capstan/localmesh';
import { decodeEnvelope, fromBase64 } from '@capstan/protocol';

/** Checks what the hub handed on, with the keys pinned here: the hub's own word for it is not enough. @throws WireFault */
export async function checkReceipt(view: ReceiptView, context: MeshContext): Promise<VerifiedReceipt> {
  return verifyReceipt({
    envelope: decodeEnvelope(fromBase64(view.envelope)),
    command: decodeEnvelope(fromBase64(view.command)),
    keys: await loadTrust(context.trustFile),
    hubId: context.hubId,
  });
}

/** Keeps a receipt as a file for `capstan verify`. */
export async function saveReceipt(view: ReceiptView, file: string): Promise<void> {
  const bundle: ReceiptBundle = { version: 1, kind: 'capstan.receipt', command: view.command, receipt: view.envelope };
  await writeFile(file, `${JSON.stringify(bundle, null, 2)}\n`, { mode: 0o600 });
}

export function describe(receipt: VerifiedReceipt): string[] {
  return describeReceipt(receipt);
}
