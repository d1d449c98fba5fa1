import { readFile, writeFile } from 'node:fs/promises';
import { describeReceipt, makeBundle, type VerifiedReceipt, verifyReceipt } from '@capstan/evidence';
import { explainUnknown, type KeyRing, loadTrust } from '@capstan/identity';
import { HubClient, type MeshContext, type ReceiptView } from '@capstan/localmesh';
import { decodeEnvelope, type Envelope, fromBase64, WireFault } from '@capstan/protocol';
import { currentKeys, hubStatements } from './key-statements.js';

/**
 * Checks what the hub handed on, with the keys pinned here: the hub's own word for it is not enough. A key that is not
 * pinned may have taken the place of one that is; that is checked too.
 *
 * @throws WireFault; LocalFault `key-unfollowed`, `key-fork` with what to do about this instance
 */
export async function checkReceipt(view: ReceiptView, context: MeshContext): Promise<VerifiedReceipt> {
  const pinned = await loadTrust(context.trustFile);
  try {
    return checkWith(view, context, pinned);
  } catch (error) {
    if (!(error instanceof WireFault && error.code === 'key-unknown')) throw error;
    const belief = await currentKeys(pinned, await clientOf(context));
    try {
      return checkWith(view, context, belief.keys);
    } catch (again) {
      throw explainUnknown(again, belief, envelopeOf(view.envelope));
    }
  }
}

/** Keeps a receipt as a file for `capstan verify`, with what leads to keys that were not pinned when the mesh began. */
export async function saveReceipt(view: ReceiptView, file: string, context: MeshContext): Promise<void> {
  const keyStatements = await clientOf(context)
    .then(hubStatements)
    .catch(() => []);
  const bundle = makeBundle({ command: envelopeOf(view.command), receipt: envelopeOf(view.envelope), keyStatements });
  await writeFile(file, `${JSON.stringify(bundle, null, 2)}\n`, { mode: 0o600 });
}

export function describe(receipt: VerifiedReceipt): string[] {
  return describeReceipt(receipt);
}

function checkWith(view: ReceiptView, { hubId }: MeshContext, keys: KeyRing): VerifiedReceipt {
  return verifyReceipt({ envelope: envelopeOf(view.envelope), command: envelopeOf(view.command), keys, hubId });
}

function envelopeOf(text: string): Envelope {
  return decodeEnvelope(fromBase64(text));
}

async function clientOf({ hubUrl, tokenFile, tlsPin }: MeshContext): Promise<HubClient> {
  return new HubClient(hubUrl, (await readFile(tokenFile, 'utf8')).trim(), tlsPin);
}
