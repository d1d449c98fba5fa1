import { envelopeVectors } from './envelope-vectors.js';
import { keyVectors, paeVectors, signatureVectors } from './key-vectors.js';
import { chainVectors, receiptVectors } from './receipt-vectors.js';

/** Every vector file by name, as JSON. */
export function vectorFiles(): Record<string, string> {
  const files = {
    'pae.json': paeVectors(),
    'keys.json': keyVectors(),
    'signatures.json': signatureVectors(),
    'envelopes.json': envelopeVectors(),
    'receipts.json': receiptVectors(),
    'audit-chain.json': chainVectors(),
  };
  return Object.fromEntries(
    Object.entries(files).map(([name, content]) => [name, `${JSON.stringify(content, null, 2)}\n`]),
  );
}
