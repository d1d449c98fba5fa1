import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { loadTrust, type KeyRing } from '@capstan/identity';
import { loadPolicy, LocalFault, type OwnerPolicy } from '@capstan/platform';
import { isId } from '@capstan/protocol';
import { FreshFile } from './fresh-file.js';
import type { InstancePaths } from './settings.js';

/** What the owner and the spoke have written into the instance's directory; each read again when it changes. */
export class InstanceFiles {
  private readonly instance: FreshFile<string>;
  private readonly trustFile: FreshFile<KeyRing>;
  private readonly policyFile: FreshFile<OwnerPolicy>;

  constructor(paths: InstancePaths) {
    this.instance = new FreshFile(paths.instance, loadInstanceId);
    this.trustFile = new FreshFile(paths.trust, loadTrust);
    this.policyFile = new FreshFile(paths.policy, loadPolicy);
  }

  /** Who this instance is. @throws LocalFault `instance-unenrolled` before it has joined a hub */
  instanceId(): Promise<string> {
    return this.instance.read();
  }

  /** The keys that may order. */
  trust(): Promise<KeyRing> {
    return this.trustFile.read();
  }

  policy(): Promise<OwnerPolicy> {
    return this.policyFile.read();
  }
}

async function loadInstanceId(file: string): Promise<string> {
  try {
    const { instanceId } = JSON.parse(await readFile(file, 'utf8')) as { instanceId?: unknown };
    if (typeof instanceId === 'string' && isId(instanceId)) return instanceId;
  } catch (error) {
    throw new LocalFault('instance-unenrolled', 'This instance has not joined a hub.', undefined, { cause: error });
  }
  throw new LocalFault('instance-unenrolled', `${file} names no instance.`);
}

/** The API's token; made at first start, readable by its owner only. @throws LocalFault `token-open`, `token-short` */
export async function loadOrCreateToken(file: string): Promise<string> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  try {
    const handle = await open(file, 'wx', 0o600);
    try {
      await handle.writeFile(`${randomBytes(32).toString('base64url')}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await chmod(file, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  if (((await stat(file)).mode & 0o077) !== 0) {
    throw new LocalFault('token-open', `${file} can be read by others: chmod 600 it and make a new token.`);
  }
  const token = (await readFile(file, 'utf8')).trim();
  if (token.length < 16) throw new LocalFault('token-short', `${file} holds no token of at least 16 characters.`);
  return token;
}
