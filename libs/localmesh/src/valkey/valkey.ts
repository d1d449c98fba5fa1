import { createHash, randomBytes } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import type { ProcessRegister } from '../process/process-register.js';
import { SupervisedProcess } from '../process/supervised-process.js';
import { makePrivate } from '../state/state-dir.js';

const SERVERS = ['valkey-server', 'redis-server'];

/** Spoke and orchestrator cannot touch each other's keys: a broken-into spoke must not reach the queue. */
const USERS = {
  spoke: '~spoke:* &spoke:* +@all -@admin -@dangerous +info',
  orchestrator: '~orchestrator:* ~bull:* &orchestrator:* &bull:* +@all -@admin -@dangerous +info',
  // It keeps nothing there.
  hub: '&capstan:* +@all -@admin -@dangerous +info',
} as const;

type Role = keyof typeof USERS;
type InstanceRole = Exclude<Role, 'hub'>;

/**
 * Nobody can log in as this user, but the server itself replays its append-only file as it: without rights it drops every
 * transaction at a restart, scripts included (Redis 7.0: "NOPERM ACLs rules changed …").
 */
const REPLAY_USER = 'user default off resetpass ~* &* +@all';

export interface InstanceValkey {
  /** URL for each role, with its own user. */
  urls: Readonly<Record<InstanceRole, string>>;
  /** Absent where the server is somebody else's (CAPSTAN_VALKEY_URL). */
  process?: SupervisedProcess;
}

interface ServerOptions {
  /** Directory of this server: socket, append-only file, users. */
  dir: string;
  logFile: string;
  env: Readonly<Record<string, string>>;
  register: ProcessRegister;
}

export interface ValkeyOptions extends ServerOptions {
  instanceId: string;
}

/** The server on this machine's PATH. @throws LocalFault `valkey-missing` */
export function findValkeyServer(path = process.env['PATH'] ?? ''): string {
  for (const name of SERVERS) {
    for (const directory of path.split(delimiter).filter((part) => part !== '')) {
      const file = join(directory, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        continue;
      }
    }
  }
  throw new LocalFault(
    'valkey-missing',
    'Neither valkey-server nor redis-server is installed; install one ("apt-get install redis-server"), or set CAPSTAN_VALKEY_URL.',
  );
}

/** One server for one instance, on a unix socket; every write is on disk before it is answered. */
export async function startValkey({
  instanceId,
  ...options
}: ValkeyOptions): Promise<InstanceValkey & { process: SupervisedProcess }> {
  return startServer(`${instanceId}/valkey`, ['spoke', 'orchestrator'], options);
}

/** The server through which the replicas of a hub hear of each other, on a unix socket. */
export async function startHubValkey(options: ServerOptions): Promise<{ url: string; process: SupervisedProcess }> {
  const { urls, process } = await startServer('hub-valkey', ['hub'], options);
  return { url: urls.hub, process };
}

async function startServer<R extends Role>(
  name: string,
  roles: readonly R[],
  options: ServerOptions,
): Promise<{ urls: Record<R, string>; process: SupervisedProcess }> {
  const server = findValkeyServer();
  makePrivate(options.dir);
  const socket = join(options.dir, 'valkey.sock');
  // New at each start: nobody has to keep them.
  const accounts = roles.map((role) => ({ role, password: randomBytes(24).toString('hex') }));
  const users = accounts.map(({ role, password }) => `user ${role} on #${sha256(password)} ${USERS[role]}`);
  await writeFile(join(options.dir, 'users.acl'), `${[REPLAY_USER, ...users].join('\n')}\n`, { mode: 0o600 });
  await writeFile(join(options.dir, 'valkey.conf'), configuration(options.dir, socket), { mode: 0o600 });
  const process = new SupervisedProcess(
    {
      name,
      command: server,
      args: [join(options.dir, 'valkey.conf')],
      env: options.env,
      cwd: options.dir,
      logFile: options.logFile,
      isReady: () => answersPing(socket, accounts),
    },
    options.register,
  );
  await process.start();
  const urls = accounts.map(
    ({ role, password }) => [role, `redis+unix://${role}:${password}@${encodeURI(socket)}`] as const,
  );
  return { urls: Object.fromEntries(urls) as Record<R, string>, process };
}

/** A server that somebody else runs: one database per instance, because key prefixes name roles and not instances. */
export function sharedValkey(url: string, index: number): InstanceValkey {
  const parsed = new URL(url);
  const isSocket = parsed.protocol.includes('unix');
  const first = Number((isSocket ? parsed.searchParams.get('db') : parsed.pathname.slice(1)) ?? 0);
  if (isSocket) parsed.searchParams.set('db', String(first + index));
  else parsed.pathname = `/${String(first + index)}`;
  return { urls: { spoke: parsed.href, orchestrator: parsed.href } };
}

function configuration(dir: string, socket: string): string {
  const quoted = (path: string): string => `"${path.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  return [
    'port 0',
    `unixsocket ${quoted(socket)}`,
    'unixsocketperm 700',
    `dir ${quoted(dir)}`,
    `aclfile ${quoted(join(dir, 'users.acl'))}`,
    'daemonize no',
    'appendonly yes',
    'appendfsync always',
    'save ""',
    // BullMQ's demand: a queue may not lose entries to memory pressure.
    'maxmemory-policy noeviction',
    'loglevel warning',
    '',
  ].join('\n');
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function answersPing(socketPath: string, [account]: readonly { role: string; password: string }[]): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    let answer = '';
    const done = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.setTimeout(1000, () => {
      done(false);
    });
    socket.once('error', () => {
      done(false);
    });
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      // While it loads its file it answers PING with an error.
      if (answer.includes('+PONG')) done(true);
      else if (/-[A-Z]+ /.test(answer)) done(false);
    });
    socket.write(`AUTH ${account?.role ?? ''} ${account?.password ?? ''}\r\nPING\r\n`);
  });
}
