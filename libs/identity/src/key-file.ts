import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LocalFault } from '@capstan/protocol';

const KEY_FILE_BYTES = 4096;

function errorCode(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
}

/**
 * Writes a secret into a file that did not exist, mode 0600. The content is linked into place when it is on disk, so
 * that a crash leaves a whole key or none, and of two that race one wins.
 *
 * @throws {LocalFault} `key-file-exists`
 */
export async function createKeyFile(file: string, content: string): Promise<void> {
  const temporary = await writeBeside(file, content, 0o600);
  try {
    await link(temporary, file);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    throw new LocalFault('key-file-exists', 'There is a key in this file already; it is never overwritten.', file);
  } finally {
    await unlink(temporary);
  }
  await syncDirectory(dirname(file));
}

/** Replaces a file with content that is on disk when this resolves; a crash leaves the old content or the new. */
export async function replaceFile(file: string, content: string, mode: number): Promise<void> {
  const temporary = await writeBeside(file, content, mode);
  await rename(temporary, file);
  await syncDirectory(dirname(file));
}

async function writeBeside(file: string, content: string, mode: number): Promise<string> {
  const temporary = join(dirname(file), `.${randomUUID()}.new`);
  await using handle = await open(temporary, 'wx', mode);
  try {
    await handle.writeFile(content);
    await handle.chmod(mode);
    await handle.sync();
  } catch (error) {
    await unlink(temporary);
    throw error;
  }
  return temporary;
}

/** Resolves once what was linked or renamed in a directory is on disk. */
export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, 'r');
  await handle.sync();
}

/**
 * The content of a secret's file, which must be ours alone.
 *
 * @throws {LocalFault} `key-file-missing`, `key-file-open`, `key-file-malformed`
 */
export async function readKeyFile(file: string): Promise<string> {
  await using handle = await openKeyFile(file);
  // Asked of the open file, so that nobody can swap it between question and read.
  const status = await handle.stat();
  if (!status.isFile()) throw new LocalFault('key-file-malformed', 'The key is not a regular file.', file);
  if ((status.mode & 0o077) !== 0) {
    throw new LocalFault(
      'key-file-open',
      'The key file can be read by others: chmod 600 it, and make a new key if somebody did.',
      file,
    );
  }
  if (process.geteuid !== undefined && status.uid !== process.geteuid()) {
    throw new LocalFault('key-file-open', 'The key file belongs to another user.', file);
  }
  if (status.size > KEY_FILE_BYTES)
    throw new LocalFault('key-file-malformed', 'The key file is too large to be a key.', file);
  return await handle.readFile('utf8');
}

async function openKeyFile(file: string): Promise<FileHandle> {
  try {
    return await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (errorCode(error) === 'ENOENT')
      throw new LocalFault('key-file-missing', 'There is no key file.', file, { cause: error });
    if (errorCode(error) === 'ELOOP')
      throw new LocalFault('key-file-malformed', 'The key is not a regular file.', file, { cause: error });
    if (errorCode(error) === 'EACCES')
      throw new LocalFault('key-file-open', 'The key file belongs to another user.', file, { cause: error });
    throw error;
  }
}
