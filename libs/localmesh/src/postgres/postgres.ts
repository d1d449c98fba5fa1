import { chownSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import type { ProcessRegister } from '../process/process-register.js';
import { runRegistered } from '../process/run-registered.js';
import { SupervisedProcess } from '../process/supervised-process.js';
import { makePrivate } from '../state/state-dir.js';
import { providePostgres } from './postgres-binaries.js';
import { postgresUser, type UserIds } from './postgres-user.js';

/** A small server: one hub uses it, on a unix socket in a directory that only its user can enter. */
const SETTINGS = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '40',
  shared_buffers: '16MB',
  // Each of these would be a process or memory that a local mesh has no use for.
  io_method: 'sync',
  jit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_logical_replication_workers: '0',
  max_parallel_workers: '0',
  log_min_messages: 'warning',
};

/** One system call instead of an fsync for each of a thousand files: 0.5 s instead of 2. */
const SYNC = process.platform === 'linux' ? ['--sync-method=syncfs'] : [];

export interface Postgres {
  url: string;
  process: SupervisedProcess;
}

export interface PostgresOptions {
  /** Directory of this cluster. */
  dir: string;
  /** Where the binaries of all meshes of this user are kept. */
  binariesRoot: string;
  logFile: string;
  env: Readonly<Record<string, string>>;
  register: ProcessRegister;
}

/** Makes the cluster at first start, and starts it. @throws LocalFault `postgres-initdb`, `process-failed` */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const [binaries, user] = await Promise.all([providePostgres(options.binariesRoot), postgresUser()]);
  for (const directory of [options.dir, join(options.dir, 'run')]) {
    makePrivate(directory);
    if (user !== undefined) chownSync(directory, user.uid, user.gid);
  }
  const data = join(options.dir, 'data');
  if (!existsSync(join(data, 'PG_VERSION'))) await initdb(binaries, data, options, user);
  const socketDir = join(options.dir, 'run');
  const server: SupervisedProcess = new SupervisedProcess(
    {
      name: 'postgres',
      command: join(binaries, 'bin', 'postgres'),
      args: [
        '-D',
        data,
        ...Object.entries({ ...SETTINGS, unix_socket_directories: socketDir }).flatMap(([name, value]) => [
          '-c',
          `${name}=${value}`,
        ]),
      ],
      env: options.env,
      cwd: options.dir,
      logFile: options.logFile,
      // "Fast": ends sessions and shuts down in order; SIGTERM would wait for every client.
      stopSignal: 'SIGINT',
      isReady: (): boolean => isReady(data, server.pid),
      ...user,
    },
    options.register,
  );
  await server.start();
  return { url: `postgresql://capstan@localhost/postgres?host=${encodeURIComponent(socketDir)}`, process: server };
}

async function initdb(
  binaries: string,
  data: string,
  { env, register }: PostgresOptions,
  user?: UserIds,
): Promise<void> {
  const args = ['-D', data, '-U', 'capstan', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-instructions', ...SYNC];
  try {
    await runRegistered(register, 'initdb', join(binaries, 'bin', 'initdb'), args, {
      env,
      cwd: join(data, '..'),
      ...user,
    });
  } catch (error) {
    // Half a cluster would look like a whole one at the next start.
    rmSync(data, { recursive: true, force: true });
    const { stderr } = error as { stderr?: string };
    throw new LocalFault('postgres-initdb', 'The PostgreSQL cluster could not be made.', stderr, { cause: error });
  }
}

/** postmaster.pid: the pid in its first line, the state in its eighth. */
function isReady(data: string, pid: number | undefined): boolean {
  try {
    const lines = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n');
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
  } catch {
    return false;
  }
}
