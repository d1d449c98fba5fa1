import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskWatch } from '../disk/disk-watch.js';
import type { KillHandle } from '../kill/handle.js';
import { bootId, readProcess, type ProcessView } from '../kill/process.js';
import { DockerDriver } from './driver.js';

const HANDLE: KillHandle = { driver: 'docker', bootId: 'b', processes: [], pidNamespace: 1n, cgroup: '' };

describe('an adoption by a Docker that has the container', () => {
  let room: string;
  let docker: Server;
  let inspected: [number, object];
  let labels: Record<string, string>;
  let wait: Record<'begun' | 'left', PromiseWithResolvers<void>>;
  let driver: DockerDriver;
  beforeEach(async () => {
    room = mkdtempSync(join(tmpdir(), 'capstan-docker-'));
    labels = {};
    wait = { begun: Promise.withResolvers(), left: Promise.withResolvers() };
    docker = createServer(({ url = '' }, response) => {
      if (url.includes('/wait')) {
        wait.begun.resolve();
        response.once('close', () => wait.left.resolve());
        return;
      }
      const isList = url.includes('/containers/json');
      const [status, body] = isList ? [200, [{ Id: 'x', Names: ['/x'], Labels: labels }]] : inspected;
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

  /** A process that lives as long as the test, as that of the container. */
  const agent = async (stack: AsyncDisposableStack): Promise<ProcessView> => {
    const child = stack.adopt(spawn('/bin/sleep', ['1000'], { stdio: 'ignore' }), async (it) => {
      it.kill('SIGKILL');
      if (it.exitCode === null && it.signalCode === null) await once(it, 'exit');
    });
    await once(child, 'spawn');
    const init = readProcess(child.pid ?? 0);
    if (init === null) throw new Error('it does not run');
    inspected = state(true, init.pid);
    return init;
  };
  const handleOf = (init: ProcessView): KillHandle => ({
    ...HANDLE,
    bootId: bootId(),
    processes: [init],
    pidNamespace: init.pidNamespace ?? 0n,
  });

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

  it.each([
    '',
    '{}',
    '{"directories":"/","bound":{"bytes":1,"entries":1}}',
    '{"directories":[1],"bound":{"bytes":1,"entries":1}}',
    '{"directories":[],"bound":{"bytes":"1","entries":1}}',
    '{"directories":[],"bound":{"bytes":1,"entries":-1}}',
  ])('rejects where its label does not say what bounds it on the disk: %j', async (label) => {
    await using stack = new AsyncDisposableStack();
    const init = await agent(stack);
    labels = { 'capstan.disk': label };
    await expect(driver.adopt('one', handleOf(init))).rejects.toMatchObject({ code: 'sandbox-failed' });
  });

  it('is as if it had not been where it is released: nobody reads, measures or asks Docker, and the container runs on', async () => {
    await using stack = new AsyncDisposableStack();
    const init = await agent(stack);
    const pipes = ['out', 'err'].map((name) => join(room, 'x', name));
    mkdirSync(join(room, 'x'));
    execFileSync('mkfifo', pipes);
    // Its agent holds them open.
    for (const pipe of pipes) stack.adopt(openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK), closeSync);
    labels = { 'capstan.disk': JSON.stringify({ directories: [], bound: { bytes: 1, entries: 1 } }) };
    const adopted = await driver.adopt('one', handleOf(init));
    await wait.begun.promise;
    const end = jest.spyOn(DiskWatch.prototype, 'end');
    stack.defer(() => end.mockRestore());
    adopted?.release();
    expect(end).toHaveBeenCalledTimes(1);
    expect(await adopted?.exited).toEqual({ exitCode: null, signal: null, outOfMemory: false });
    await wait.left.promise;
    expect([adopted?.stdout.destroyed, adopted?.stderr.destroyed]).toEqual([true, true]);
    expect(readProcess(init.pid)?.startTicks).toBe(init.startTicks);
  });
});
