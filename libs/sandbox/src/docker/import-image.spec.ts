import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { once } from 'node:events';
import { Daemon } from './daemon.js';

describe('an image that Docker is to import', () => {
  let room: string;
  let server: Server | undefined;

  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-import-'));
  });
  afterEach(async () => {
    server?.closeAllConnections();
    await new Promise((done) => (server === undefined ? done(undefined) : server.close(done)));
    server = undefined;
    rmSync(room, { recursive: true });
  });

  /** A daemon that answers in this way, which no real one does when it is asked to. */
  async function answering(answer: RequestListener, importMs?: number): Promise<Daemon> {
    const socketPath = join(room, 'docker.sock');
    server = createServer(answer).listen(socketPath);
    await once(server, 'listening');
    return new Daemon(socketPath, importMs);
  }

  const imported = (daemon: Daemon, archive: Readable = Readable.from(['tar'])): Promise<void> =>
    daemon.importImage(archive, 'capstan-agent', 'local-test');

  it('is not there where the answer, once begun well, tells of a failure', async () => {
    const said = '{"status":"Importing"}\n{"errorDetail":{"message":"no space left"},"error":"no space left"}\n';
    const daemon = await answering((_, response) => response.writeHead(200).end(said));
    await expect(imported(daemon)).rejects.toMatchObject({ code: 'sandbox-failed', detail: 'no space left' });
  });

  it('is not there where the answer is none', async () => {
    const daemon = await answering((_, response) => response.writeHead(200).end('{"status":"Impor'));
    await expect(imported(daemon)).rejects.toMatchObject({ code: 'sandbox-failed' });
  });

  it('is there where the answer says so', async () => {
    const daemon = await answering((request, response) => {
      request.resume();
      request.on('end', () => response.writeHead(200).end('{"status":"sha256:0"}\r\n'));
    });
    await expect(imported(daemon)).resolves.toBeUndefined();
  });

  it.each([
    ['says nothing', () => undefined],
    [
      'begins and says no more',
      (_: unknown, response: Parameters<RequestListener>[1]) => response.writeHead(200).flushHeaders(),
    ],
  ])('is not waited for without end of a Docker that %s', async (_name, answer) => {
    const daemon = await answering(answer, 300);
    const archive = new PassThrough();
    await expect(imported(daemon, archive)).rejects.toMatchObject({
      code: 'sandbox-failed',
      detail: 'no answer within 300 ms',
    });
    expect(archive.destroyed).toBe(true);
  });
});
