import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Daemon } from './daemon.js';

/** Between two whole seconds, as nearly every moment is. */
const NOW_MS = 1_700_000_000_400;
const SINCE_MS = NOW_MS - 1_500;

describe('whether a container has used up its memory', () => {
  let room: string;
  let docker: Server;
  let asked: URLSearchParams[];
  let noted: string;
  beforeEach(async () => {
    room = mkdtempSync(join(tmpdir(), 'capstan-docker-'));
    [asked, noted] = [[], ''];
    docker = createServer(({ url = '' }, response) => {
      asked.push(new URL(url, 'http://docker').searchParams);
      response.writeHead(200, { 'content-type': 'application/json' }).end(noted);
    }).listen(join(room, 'docker.sock'));
    await once(docker, 'listening');
    jest.spyOn(Date, 'now').mockReturnValue(NOW_MS);
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    docker.closeAllConnections();
    docker.close();
    await once(docker, 'close');
    rmSync(room, { recursive: true });
  });

  const hasRunOut = (): Promise<boolean> => new Daemon(join(room, 'docker.sock')).hasRunOutOfMemory('x1', SINCE_MS);

  // Docker answers when the moment has come: each killed container was settled five seconds late, a whole one for each look.
  it('is asked up to a moment that has come, so that Docker answers at once', async () => {
    await hasRunOut();
    expect(asked.map((it) => Number(it.get('until')) * 1000)).toEqual([NOW_MS]);
    expect(asked.map((it) => Number(it.get('since')) * 1000)).toEqual([SINCE_MS]);
  });

  it('is what Docker has noted of that container', async () => {
    expect(await hasRunOut()).toBe(false);
    noted = '{"Type":"container","Action":"oom","Actor":{"ID":"x1"}}\n';
    expect(await hasRunOut()).toBe(true);
    expect(JSON.parse(asked[1]?.get('filters') ?? '')).toEqual({ container: ['x1'], event: ['oom'] });
  });
});
