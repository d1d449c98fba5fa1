import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LocalFault } from '@capstan/protocol';

/** The token of a local API; made at first start, readable by its owner only. @throws LocalFault `token-open`, `token-short` */
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
