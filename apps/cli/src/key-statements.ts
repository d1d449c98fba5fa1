import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Belief, believeStatements, type KeyRing } from '@capstan/identity';
import type { HubClient } from '@capstan/localmesh';
import { decodeEnvelope, type Envelope, fromBase64 } from '@capstan/protocol';

/** What the hub keeps of key changes, its own and those of its instances; nothing of it is believed yet. */
export async function hubStatements(client: HubClient): Promise<Envelope[]> {
  return (await client.keyStatements()).map(({ envelope }) => decodeEnvelope(fromBase64(envelope)));
}

/** The statements that led to the key of the instance in a directory; none where it has its first. */
export async function ownStatements(directory: string): Promise<Envelope[]> {
  const text = await readFile(join(directory, 'key-record.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return [];
  const { statements } = JSON.parse(text) as { statements: string[] };
  return statements.map((each) => decodeEnvelope(fromBase64(each)));
}

/** The pinned keys, and those that came after them by statements that hold; what does not hold concerns its owner alone. */
export async function currentKeys(pinned: KeyRing, client: HubClient): Promise<Belief> {
  return believeStatements(pinned, await hubStatements(client));
}
