import { spawnSync } from 'node:child_process';
import { open, type FileHandle } from 'node:fs/promises';
import { LocalFault } from '@capstan/protocol';

/**
 * Takes the lock that only one reaper of an instance can hold. It ends with the process, however that ends: it is
 * bound to the open file, which util-linux's flock shares with us for a moment (Node has no flock of its own).
 *
 * Throws LocalFault `reaper-running`, or `flock-missing`.
 */
export async function lockInstance(file: string): Promise<FileHandle> {
  const handle = await open(file, 'w', 0o600);
  const { status, error } = spawnSync('flock', ['--exclusive', '--nonblock', '3'], {
    stdio: ['ignore', 'ignore', 'ignore', handle.fd],
  });
  if (status === 0) return handle;
  await handle.close();
  if (error !== undefined) {
    throw new LocalFault('flock-missing', 'The program flock (package util-linux) is needed.', undefined, {
      cause: error,
    });
  }
  throw new LocalFault('reaper-running', 'Another reaper of this instance is running.', file);
}
