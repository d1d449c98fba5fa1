import { randomBytes, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalFault } from '@capstan/platform';

/** Name of the token that is made with the hub. */
export const ADMIN = 'admin';
export const ADMIN_TOKEN_FILE = 'admin.token';
const TOKEN = /^capstan-admin-[A-Za-z0-9_-]{43}$/;

/**
 * The admin's token from its file; made with 256 random bits where there is no file. Removing the file and starting
 * again is how the token is changed: the old one holds no longer.
 *
 * @throws LocalFault `token-file-open` where others can read the file, `token-file-malformed`
 */
export async function loadOrCreateAdminToken(directory: string): Promise<string> {
  const file = join(directory, ADMIN_TOKEN_FILE);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    return await readToken(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  try {
    return await createToken(file);
  } catch (error) {
    // Somebody made it at the same moment; theirs holds.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return readToken(file);
    throw error;
  }
}

/** 256 random bits; the prefix is for scanners that look for secrets in the wrong places. */
export function makeToken(): string {
  return `capstan-admin-${randomBytes(32).toString('base64url')}`;
}

async function readToken(file: string): Promise<string> {
  await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  const status = await handle.stat();
  if ((status.mode & 0o077) !== 0 || status.uid !== process.geteuid?.()) {
    const what = 'The admin token can be read by others: remove the file and start again to get a new one.';
    throw new LocalFault('token-file-open', what, file);
  }
  const token = (await handle.readFile('utf8')).trim();
  if (!TOKEN.test(token)) {
    const what = 'The admin token file holds no token: remove the file and start again to get a new one.';
    throw new LocalFault('token-file-malformed', what, file);
  }
  return token;
}

/** Linked into place once it is on disk, so that a crash leaves a whole token or none. */
async function createToken(file: string): Promise<string> {
  const token = makeToken();
  const temporary = `${file}.${randomUUID()}`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(`${token}\n`);
    await handle.sync();
    await handle.close();
    await link(temporary, file);
  } finally {
    await unlink(temporary);
  }
  return token;
}
