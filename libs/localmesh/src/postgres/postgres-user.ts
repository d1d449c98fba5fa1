import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LocalFault } from '@capstan/protocol';
import { isRoot } from '../state/state-dir.js';

const run = promisify(execFile);
export const POSTGRES_USER = 'capstan-postgres';

export interface UserIds {
  uid: number;
  gid: number;
}

/** initdb refuses root, and any uid that is not in passwd; the ways to make a system user, by who ships them. */
const MAKERS: readonly (readonly [string, ...string[]])[] = [
  [
    'useradd',
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir',
    '/nonexistent',
    '--shell',
    '/usr/sbin/nologin',
    POSTGRES_USER,
  ],
  ['adduser', '-S', '-D', '-H', '-s', '/sbin/nologin', POSTGRES_USER],
];

/**
 * The user that PostgreSQL runs as: our own where we are not root; as root a system user that is made on first need.
 * @returns undefined for our own user. @throws LocalFault `postgres-user`
 */
export async function postgresUser(): Promise<UserIds | undefined> {
  if (!isRoot()) return undefined;
  const known = await idsOf();
  if (known !== null) return known;
  for (const [command, ...args] of MAKERS) {
    try {
      await run(command, args);
    } catch {
      continue;
    }
    const made = await idsOf();
    if (made !== null) return made;
  }
  throw new LocalFault(
    'postgres-user',
    `PostgreSQL does not run as root, and the system user ${POSTGRES_USER} could not be made; run "useradd --system ${POSTGRES_USER}".`,
  );
}

async function idsOf(): Promise<UserIds | null> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', POSTGRES_USER]), run('id', ['-g', POSTGRES_USER])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return null;
  }
}
