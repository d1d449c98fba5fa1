import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { checkPublicKey, keyRecord, loadTrustIfAny, saveTrust } from '@capstan/identity';
import { defaultContextFile, loadContext } from '@capstan/localmesh';
import { fromHex, isId, LocalFault } from '@capstan/protocol';
import type { Output } from '../output/output.js';

/**
 * Pins the public half of an owner's root key: from then on his recoveries are followed where this file is trusted.
 *
 * @throws LocalFault `file-missing`, `root-key-malformed`, `trust-file-…`; WireFault `key-weak`
 */
export async function pinRootKey(
  output: Output,
  file: string,
  { of, trust, context }: { of: string; trust?: string; context?: string },
): Promise<void> {
  if (!isId(of)) throw new LocalFault('usage', `"${of}" is no name of an instance.`);
  const place = resolve(trust ?? (await loadContext(context ?? defaultContextFile())).trustFile);
  const record = keyRecord(of, await publicKeyIn(resolve(file)), ['root']);
  const known = await loadTrustIfAny(place);
  const taken = known.get(record.keyId);
  if (taken !== undefined && (taken.owner !== of || !taken.purposes.includes('root')))
    throw new LocalFault('root-key-malformed', `This key is pinned already, for ${taken.owner} and another purpose.`);
  known.add(record);
  await saveTrust(place, known);
  output.result('pinned', { owner: of, keyId: record.keyId, file: place }, [
    `${place} follows what the root key ${record.keyId} says about the keys of ${of}.`,
  ]);
}

async function publicKeyIn(file: string): Promise<Uint8Array> {
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new LocalFault('file-missing', `${file} cannot be read.`, undefined, { cause });
  }
  if (!/^[0-9a-f]{64}$/.test(text))
    throw new LocalFault('root-key-malformed', `${file} does not hold the public half of a root key: name FILE.pub.`);
  const publicKey = fromHex(text);
  checkPublicKey(publicKey);
  return publicKey;
}
