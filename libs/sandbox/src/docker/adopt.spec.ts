import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KillHandle } from '../kill/handle.js';
import { DockerDriver } from './driver.js';

const HANDLE: KillHandle = { driver: 'docker', bootId: 'b', processes: [], pidNamespace: 1n, cgroup: '' };

describe('an adoption by a Docker that has the container', () => {
  let room: string;
  let docker: Server;
  let inspected: [number, object];
  let driver: DockerDriver;
  beforeEach(async () => {
    room = mkdtempSync(join(tmpdir(), 'capstan-docker-'));
    docker = createServer(({ url = '' }, response) => {
      const isList = url.includes('/containers/json');
      const [status, body] = isList ? [200, [{ Id: 'x', Names: ['/x'], Labels: {} }]] : inspected;
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    docker.listen(join(room, 'docker.sock'));
    await once(docker, 'listening');
    driver = new DockerDriver({ socketPath: join(room, 'docker.sock'), room });
  });
  afterEach(async () => {
    docker.closeAllConnections();
    docker.close();
    await once(docker, 'close');
    rmSync(room, { recursive: true });
  });
  const state = (Running: boolean, Pid: number): [number, object] => [
    200,
    { State: { Running, Pid, ExitCode: 0, OOMKilled: false } },
  ];

  it('finds nothing where the container has ended, or is gone', async () => {
    inspected = state(false, 0);
    expect(await driver.adopt('one', HANDLE)).toBeUndefined();
    inspected = [404, { message: 'No such container' }];
    expect(await driver.adopt('one', HANDLE)).toBeUndefined();
  });

  it('rejects where Docker does not tell whether it runs, or nobody sees the process that it names', async () => {
    inspected = [500, { message: 'busy' }];
    await expect(driver.adopt('one', HANDLE)).rejects.toMatchObject({ code: 'sandbox-failed' });
    inspected = state(true, 2 ** 30);
    await expect(driver.adopt('one', HANDLE)).rejects.toMatchObject({ code: 'sandbox-failed' });
  });
});
