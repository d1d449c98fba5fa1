import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import type { INestApplication } from '@nestjs/common';
import { LocalFault } from '@capstan/protocol';
import { endConnectionsOnClose } from './drain.js';

/** Longer than clients and proxies keep an idle connection: it is theirs to close, else a request can meet the close. */
const KEEP_ALIVE_MS = 65_000;

/** Where a process listens: a unix socket (mode 0600) or a TCP port. */
export type ListenTarget = { path: string } | { host: string; port: number };

/** Reads `/path/to.sock`, `unix:///path/to.sock`, `3001` or `127.0.0.1:3001`. @throws LocalFault `listen-malformed` */
export function parseListenTarget(text: string): ListenTarget {
  if (text.startsWith('/')) return { path: text };
  if (text.startsWith('unix://')) return { path: text.slice('unix://'.length) };
  const match = /^(?:(?<host>[^:]+|\[[0-9a-fA-F:]+\]):)?(?<port>\d{1,5})$/.exec(text);
  const port = Number(match?.groups?.['port']);
  if (match === null || port > 65535) {
    throw new LocalFault('listen-malformed', `"${text}" is no socket path, no port and no host:port.`);
  }
  return { host: (match.groups?.['host'] ?? '127.0.0.1').replace(/^\[|\]$/g, ''), port };
}

/**
 * Makes the application listen, and resolves once it does.
 *
 * @throws LocalFault `port-in-use` where somebody else listens there already; a socket file that nobody answers is replaced.
 */
export async function listen(app: INestApplication, target: ListenTarget): Promise<void> {
  if ('path' in target) await removeStaleSocket(target.path);
  const server = app.getHttpServer() as Server;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 1_000;
  endConnectionsOnClose(server);
  // Before the mask: what the application makes on its start has modes of its own.
  await app.init();
  // No moment may exist in which another user could connect.
  const mask = 'path' in target ? process.umask(0o177) : undefined;
  try {
    await ('path' in target ? app.listen(target.path) : app.listen(target.port, target.host));
  } catch (error) {
    throw faultOf(error, target);
  } finally {
    if (mask !== undefined) process.umask(mask);
  }
  if ('path' in target) chmodSync(target.path, 0o600);
}

function faultOf(error: unknown, target: ListenTarget): unknown {
  const { code } = error as NodeJS.ErrnoException;
  const place = 'path' in target ? target.path : `port ${String(target.port)} of ${target.host}`;
  if (code === 'EADDRINUSE') {
    return new LocalFault('port-in-use', `Something else listens on ${place} already.`, undefined, { cause: error });
  }
  if (code === 'EACCES') {
    return new LocalFault('listen-refused', `This user may not listen on ${place}.`, undefined, { cause: error });
  }
  return error;
}

async function removeStaleSocket(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) throw new LocalFault('port-in-use', `${path} exists and is no socket.`);
  if (await isAnswered(path)) throw new LocalFault('port-in-use', `Something else listens on ${path} already.`);
  unlinkSync(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const answer = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', () => {
      answer(true);
    });
    socket.once('error', () => {
      answer(false);
    });
  });
}
