import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { checkoutRoot } from './checkout.js';

/** macOS has room for 104 bytes in a socket's address, Linux for 108. */
const SOCKET_PATH_BYTES = 103;
/** The longest socket below a state directory: postgres/run/.s.PGSQL.5432.lock or instances/NAME/run/orchestrator.sock. */
const LONGEST_SOCKET_BYTES = '/instances//run/orchestrator.sock'.length;

export const isRoot = (): boolean => process.getuid?.() === 0;

/**
 * Where state of all meshes of this user lives: CAPSTAN_STATE_ROOT, else for root /var/lib/capstan, else
 * $XDG_STATE_HOME/capstan. Root's must be traversable: agents and PostgreSQL run as other users.
 */
export function stateRoot(env: NodeJS.ProcessEnv = process.env): string {
  const named = env['CAPSTAN_STATE_ROOT'];
  if (named !== undefined && named !== '') return resolve(named);
  if (isRoot()) return '/var/lib/capstan';
  return join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'capstan');
}

/** The state directory of this checkout's mesh. */
export function defaultStateDir(): string {
  const root = checkoutRoot();
  const hash = createHash('sha256').update(root).digest('hex').slice(0, 8);
  const name = basename(root)
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .slice(0, 20);
  return join(stateRoot(), `${name}-${hash}`);
}

/** Makes a directory that others may pass through and not list. */
export function makeTraversable(directory: string): string {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o711);
  return directory;
}

/** Makes a directory for its owner only. */
export function makePrivate(directory: string): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  return directory;
}

/**
 * Makes the state directory and checks that it can serve.
 * @throws LocalFault `state-dir-too-long`, `state-dir-closed`
 */
export function prepareStateDir(directory: string, instances: readonly string[]): void {
  const longest = Math.max(...instances.map((name) => name.length), 1);
  if (Buffer.byteLength(directory) + LONGEST_SOCKET_BYTES + longest > SOCKET_PATH_BYTES) {
    throw new LocalFault(
      'state-dir-too-long',
      `The state directory ${directory} is too long for unix sockets; name a shorter one with --state.`,
    );
  }
  makeTraversable(directory);
  if (isRoot()) checkTraversable(directory);
}

/** As root, PostgreSQL and the agents run as users of their own; they must be able to pass every parent. */
function checkTraversable(directory: string): void {
  for (let parent = directory; parent !== dirname(parent); parent = dirname(parent)) {
    if (!existsSync(parent) || (statSync(parent).mode & 0o001) !== 0) continue;
    throw new LocalFault(
      'state-dir-closed',
      `${parent} is closed to other users, so PostgreSQL and agents could not work below it; name another place with --state.`,
    );
  }
}
