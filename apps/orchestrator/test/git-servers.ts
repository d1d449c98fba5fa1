import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { TestAuthority } from '../../../test/support/certificate.js';
import { until } from '../../../test/support/until.js';

const SSHD = '/usr/sbin/sshd';
const PATH = '/usr/local/bin:/usr/bin:/bin';

const READ_ONLY = [
  'case "$SSH_ORIGINAL_COMMAND" in git-upload-pack*) eval "$SSH_ORIGINAL_COMMAND";;',
  '*) echo "ERROR: The key you are authenticating with has been marked as read only." >&2; exit 1;; esac',
].join(' ');

/** A real sshd on loopback that lets one key in. */
export class SshServer implements AsyncDisposable {
  private constructor(
    private readonly server: ChildProcess,
    readonly port: number,
    /** Private key that is let in. */
    readonly key: string,
    /** File with the server's host key. */
    readonly knownHosts: string,
  ) {}

  /** @param onlyRead programs of git that would write are refused, in the words of a well-known host. */
  static async start(directory: string, onlyRead = false): Promise<SshServer> {
    mkdirSync(directory, { mode: 0o755 });
    const file = (name: string): string => join(directory, name);
    for (const name of ['host', 'user']) {
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', file(name)]);
    }
    writeFileSync(file('authorized'), readFileSync(file('user.pub')), { mode: 0o644 });
    const port = await freePort();
    writeFileSync(
      file('config'),
      [
        `Port ${String(port)}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${file('host')}`,
        `PidFile none`,
        `AuthorizedKeysFile ${file('authorized')}`,
        'StrictModes no',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'UsePAM no',
        'PermitRootLogin prohibit-password',
        ...(onlyRead ? [`ForceCommand ${READ_ONLY}`] : []),
      ].join('\n'),
    );
    // Where it separates its privileges; the package makes it at its service's start.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    const server = spawn(SSHD, ['-D', '-e', '-f', file('config')], { stdio: 'ignore' });
    const hostKey = readFileSync(file('host.pub'), 'utf8').split(' ').slice(0, 2).join(' ');
    writeFileSync(file('known'), `[127.0.0.1]:${String(port)} ${hostKey}\n`);
    await until('sshd answers', () => canConnect(port));
    return new SshServer(server, port, file('user'), file('known'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.server.exitCode !== null) return;
    const exited = once(this.server, 'exit');
    this.server.kill('SIGKILL');
    await exited;
  }
}

/** git's own http-backend behind TLS and a password. */
export class HttpsServer implements AsyncDisposable {
  /** Called with the line of each request before it is served. */
  onRequest: (line: string) => void = () => undefined;

  private constructor(
    private readonly server: Server,
    /** Each request's method, path, and whether it had the password. */
    readonly requests: readonly string[],
    readonly port: number,
    /** Certificate of the authority. */
    readonly ca: string,
  ) {}

  /**
   * @param root directory of bare repositories. @param access `name:password`
   * @param forbidden paths, with their query, for which even those who are known get 403
   */
  static async start(directory: string, root: string, access: string, forbidden?: RegExp): Promise<HttpsServer> {
    const authority = await TestAuthority.make();
    const ca = join(directory, 'ca.pem');
    writeFileSync(ca, authority.pem);
    const wanted = `Basic ${Buffer.from(access).toString('base64')}`;
    const requests: string[] = [];
    const server = createServer(await authority.certify());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const started = new HttpsServer(server, requests, (server.address() as AddressInfo).port, ca);
    server.on('request', (request, response) => {
      const isKnown = request.headers.authorization === wanted;
      const line = `${request.method ?? ''} ${request.url ?? ''} ${isKnown ? 'known' : 'unknown'}`;
      requests.push(line);
      started.onRequest(line);
      if (isKnown && forbidden?.test(request.url ?? '') === true) response.writeHead(403).end();
      else if (isKnown) serve(root, request, response);
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    });
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }
}

function serve(root: string, request: IncomingMessage, response: ServerResponse): void {
  const [path = '', query = ''] = (request.url ?? '').split('?');
  const backend = spawn('git', ['-c', 'safe.directory=*', '-c', 'http.receivepack=true', 'http-backend'], {
    env: {
      PATH,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      PATH_INFO: path,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method ?? '',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_USER: 'capstan',
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  request.pipe(backend.stdin);
  backend.stdin.on('error', () => undefined);
  const chunks: Buffer[] = [];
  backend.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  backend.once('close', () => {
    const all = Buffer.concat(chunks);
    const end = all.indexOf('\r\n\r\n');
    const headers = all
      .toString('latin1', 0, Math.max(end, 0))
      .split('\r\n')
      .map((line) => line.split(': ') as [string, string]);
    const status = headers.find(([name]) => name === 'Status')?.[1] ?? '200';
    for (const [name, value] of headers) if (name !== 'Status' && name !== '') response.setHeader(name, value);
    response.writeHead(Number.parseInt(status, 10)).end(all.subarray(end + 4));
  });
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function canConnect(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(undefined));
  });
}

/** A file of the owner's. */
export function ownersFile(file: string, content: string, mode = 0o600): string {
  writeFileSync(file, content, { mode });
  chmodSync(file, mode);
  return file;
}
