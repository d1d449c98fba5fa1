import { readFile, writeFile } from 'node:fs/promises';
import { decodeEnvelope, encodeEnvelope, type Envelope, fromBase64, LocalFault, toBase64 } from '@capstan/protocol';

/** A chain of grants on disk, root first; nothing in it is secret. */
interface GrantFile {
  version: 1;
  kind: 'capstan.grant-chain';
  /** Base64 of serialized envelopes. */
  grants: string[];
}

/** @throws LocalFault `file-missing`, `grant-file-malformed` */
export async function readGrantFile(file: string): Promise<Envelope[]> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new LocalFault('file-missing', `${file} cannot be read.`, undefined, { cause });
  });
  try {
    const { version, kind, grants } = JSON.parse(text) as Partial<Record<keyof GrantFile, unknown>>;
    if (version !== 1 || kind !== 'capstan.grant-chain' || !Array.isArray(grants)) throw new TypeError('no chain');
    return grants.map((grant) => decodeEnvelope(fromBase64(String(grant))));
  } catch (cause) {
    throw new LocalFault('grant-file-malformed', `${file} does not hold a chain of grants.`, undefined, { cause });
  }
}

export async function writeGrantFile(file: string, chain: readonly Envelope[]): Promise<void> {
  const grants = chain.map((grant) => toBase64(encodeEnvelope(grant)));
  const content: GrantFile = { version: 1, kind: 'capstan.grant-chain', grants };
  await writeFile(file, `${JSON.stringify(content, null, 2)}\n`);
}
