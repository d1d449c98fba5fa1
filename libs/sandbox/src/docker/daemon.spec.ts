import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { TestDocker } from '../../../../test/support/test-docker.js';
import { until } from '../../../../test/support/until.js';
import { isGone, signalHandle, waitGone } from '../kill/handle.js';
import type { PreparedSandbox, SandboxSpec } from '../port.js';
import { Daemon } from './daemon.js';
import { DockerDriver } from './driver.js';
import { rootFiles } from './root-files.js';

jest.setTimeout(90_000);

const IDS = { uid: process.getuid?.() || 234_569, gid: process.getgid?.() || 234_569 };

describe('a Docker that fails', () => {
  let docker: TestDocker;
  let room: string;
  let driver: DockerDriver;

  beforeAll(async () => {
    docker = await TestDocker.start();
  });
  afterAll(async () => {
    await docker[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-gates-'));
    driver = new DockerDriver({ socketPath: docker.socketPath, room, owner: room });
  });
  afterEach(() => {
    rmSync(room, { recursive: true, force: true });
  });

  const running = async (env: Record<string, string> = {}): Promise<PreparedSandbox> => {
    const spec: SandboxSpec = {
      agentId: 'agent-one',
      argv: ['/bin/sh', '-c', 'trap "" TERM; (setsid sleep 1000 &); echo started; sleep 1000'],
      env: { PATH: '/usr/bin:/bin', ...env },
      cwd: '/',
      ...IDS,
      mounts: [],
      limits: { memoryBytes: 64 << 20, pids: 32 },
      network: 'none',
    };
    const sandbox = await driver.prepare(spec);
    await sandbox.go();
    sandbox.stderr.resume();
    await new Promise((resolve) => sandbox.stdout.once('data', resolve));
    return sandbox;
  };

  it('and hangs stops no kill: death is seen on the host, and the container is removed when it is back', async () => {
    const sandbox = await running();
    docker.freeze();
    try {
      await signalHandle(sandbox.handle);
      expect(await waitGone(sandbox.handle, 15_000)).toBe(true);
      // Nobody knows how it ended; that it did is told all the same.
      expect(await sandbox.exited).toEqual({ exitCode: null, signal: null, outOfMemory: false });
    } finally {
      docker.thaw();
    }
    await sandbox.dispose();
    expect(await docker.containers()).toEqual([]);
    expect(readdirSync(room)).toEqual([]);
  });

  it(
    'and is restarted leaves nothing that a new orchestrator does not find and end',
    proves('ORC-106', async () => {
      const sandbox = await running();
      await docker.crash();
      expect(isGone(sandbox.handle)).toBe(false);
      await docker.restart();
      const later = new DockerDriver({ socketPath: docker.socketPath, room, owner: room });
      expect(await later.agentsWithSandboxes()).toEqual(['agent-one']);
      const neighbour = new DockerDriver({ socketPath: docker.socketPath, room, owner: `${room}-2` });
      expect(await neighbour.agentsWithSandboxes()).toEqual([]);
      expect(await neighbour.removeLeftovers('agent-one')).toEqual([]);
      expect(await docker.containers()).toHaveLength(1);
      await later.removeLeftovers('agent-one');
      expect(isGone(sandbox.handle)).toBe(true);
      expect(await docker.containers()).toEqual([]);
      expect(readdirSync(room)).toEqual([]);
      await sandbox.exited;
    }),
  );

  it('is told of no secret: the environment of an agent does not lie on its disk', async () => {
    const sandbox = await running({ DEPLOY_KEY: 'a-canary-of-the-environment' });
    const [id = ''] = await docker.containers();
    expect(JSON.stringify(await docker.get(`/containers/${id}/json`))).not.toContain('canary');
    await signalHandle(sandbox.handle);
    await until('it is gone', () => isGone(sandbox.handle));
    await sandbox.exited;
    await sandbox.dispose();
  });

  it('makes the image of agents once: the second driver finds it', async () => {
    const images = async (): Promise<unknown[]> => (await docker.get('/images/json')) as unknown[];
    const before = await images();
    expect(await new DockerDriver({ socketPath: docker.socketPath, room }).probe()).toMatchObject({ available: true });
    expect(await images()).toEqual(before);
    expect(readdirSync(room)).toEqual([]);
  });

  it(
    'runs agents in the image that its owner names, and makes none of its own',
    proves('ORC-106', async () => {
      const image = 'harbor.example/agents:1';
      const daemon = new Daemon(docker.socketPath);
      const list = join(room, 'files');
      writeFileSync(list, (await rootFiles()).map((file) => `.${file}\n`).join(''));
      const tar = ['--create', '--directory=/', '--no-recursion', `--files-from=${list}`];
      const archive = spawn('tar', tar, { stdio: ['ignore', 'pipe', 'ignore'] });
      await daemon.importImage(archive.stdout, 'harbor.example/agents', '1');
      rmSync(list);
      const images = await docker.get('/images/json');
      driver = new DockerDriver({ socketPath: docker.socketPath, room, owner: room, image });
      const sandbox = await running();
      const [id = ''] = await docker.containers();
      expect(await docker.get(`/containers/${id}/json`)).toMatchObject({ Config: { Image: image } });
      expect(await docker.get('/images/json')).toEqual(images);
      await signalHandle(sandbox.handle);
      await until('it is gone', () => isGone(sandbox.handle));
      await sandbox.exited;
      await sandbox.dispose();
      await daemon.removeImage(image);
    }),
  );

  it('says which image it does not have, and leaves nothing', async () => {
    const image = 'harbor.example/none:1';
    const reason = `Docker cannot make a sandbox here: Docker has no such image of agents, and pulls none. (${image})`;
    const probe = await new DockerDriver({ socketPath: docker.socketPath, room, image }).probe();
    expect(probe).toMatchObject({ available: false, reason });
    expect([readdirSync(room), await docker.containers()]).toEqual([[], []]);
  });

  it('or is not there is said to be so', async () => {
    const nowhere = new DockerDriver({ socketPath: join(room, 'no.sock') });
    expect(existsSync(join(room, 'no.sock'))).toBe(false);
    expect(await nowhere.probe()).toMatchObject({
      available: false,
      reason: expect.stringContaining('no.sock') as string,
    });
  });
});
