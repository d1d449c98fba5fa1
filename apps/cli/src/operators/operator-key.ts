import { loadTrust, SigningKey } from '@capstan/identity';
import type { MeshContext } from '@capstan/localmesh';
import { LocalFault, operatorId } from '@capstan/protocol';

/** Who signs, and with what. */
export interface OperatorKey {
  id: string;
  key: SigningKey;
}

/** What `--sign` and `--as` say; `true` stands for the context's own. */
export interface SignOptions {
  sign?: string | true;
  as?: string;
}

/** The public half of an operator's key lies beside it: what an owner pins and a hub is told. */
export function publicFile(keyFile: string): string {
  return `${keyFile}.pub.json`;
}

/**
 * The key that a command is to be signed with; undefined where nothing asks for a signature.
 *
 * @throws LocalFault `usage` where no key or no name is known; `key-file-…`, `trust-file-…`
 */
export async function operatorKeyOf(
  { sign, as }: SignOptions,
  context: Pick<MeshContext, 'operator'>,
): Promise<OperatorKey | undefined> {
  if (sign === undefined) return undefined;
  const file = sign === true ? context.operator?.keyFile : sign;
  if (file === undefined) {
    throw new LocalFault(
      'usage',
      'This context names no operator; say --sign KEYFILE, or "capstan operator use KEYFILE".',
    );
  }
  const key = await SigningKey.load(file);
  return { id: operatorId(as ?? (await ownerOf(file, key))), key };
}

async function ownerOf(file: string, key: SigningKey): Promise<string> {
  const owner = (await loadTrust(publicFile(file))).get(key.keyId)?.owner;
  if (owner !== undefined) return owner;
  throw new LocalFault('usage', `${publicFile(file)} is not about the key in ${file}; say who you are with --as.`);
}
