import { LocalFault } from '@capstan/protocol';

/** What a Valkey URL says, in ioredis's words. */
export interface ValkeyAddress {
  path?: string;
  host?: string;
  port?: number;
  username?: string;
  password?: string;
  db?: number;
  tls?: Record<string, never>;
}

const SOCKET_SCHEMES = new Set(['unix:', 'redis+unix:', 'valkey+unix:', 'redis+socket:']);
const TCP_SCHEMES = new Set(['redis:', 'valkey:']);
const TLS_SCHEMES = new Set(['rediss:', 'valkeys:']);

/**
 * Reads `redis://user:pass@host:port/db` (also `valkey:`, with TLS `rediss:` and `valkeys:`) and, for a unix socket,
 * `unix:///path?db=1` or `redis+unix://user:pass@/path`.
 *
 * @throws LocalFault `valkey-url`; the text itself is not repeated, it may hold a password.
 */
export function parseValkeyUrl(text: string): ValkeyAddress {
  // An empty host after credentials is legal for a socket, and not for the WHATWG parser.
  const url = parse(text.replace(/^([a-z]+\+?(?:unix|socket)?:\/\/[^/]*@)\//, '$1socket/'));
  const account = {
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
  };
  if (SOCKET_SCHEMES.has(url.protocol)) {
    const path = decodeURIComponent(url.pathname);
    if (!path.startsWith('/') || path === '/') throw malformed('it names no socket');
    return { path, ...account, ...database(url.searchParams.get('db') ?? '') };
  }
  const secure = TLS_SCHEMES.has(url.protocol);
  if (!secure && !TCP_SCHEMES.has(url.protocol)) throw malformed(`the scheme ${url.protocol} is unknown`);
  if (url.hostname === '') throw malformed('it names no host');
  const port = url.port === '' ? 6379 : Number(url.port);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    ...account,
    ...database(url.pathname.slice(1)),
    ...(secure ? { tls: {} } : {}),
  };
}

function parse(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw malformed('it is no URL');
  }
}

function database(text: string): { db?: number } {
  if (text === '') return {};
  if (!/^\d{1,4}$/.test(text)) throw malformed('the database is no number');
  return { db: Number(text) };
}

function malformed(why: string): LocalFault {
  return new LocalFault(
    'valkey-url',
    `The Valkey URL cannot be used: ${why}. Write redis://host:port or unix:///path/to.sock.`,
  );
}
