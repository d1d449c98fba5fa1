import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { TestDocker } from '../../../../test/support/test-docker.js';
import { until } from '../../../../test/support/until.js';
import { Daemon } from './daemon.js';
import { DockerDriver } from './driver.js';
import { provideLocalImage } from './local-image.js';

jest.setTimeout(300_000);

/** In front of Docker: it hears everything at once, and what it says of containers that it makes waits for `release`. */
async function slowToTell(socketPath: string, path: string): Promise<AsyncDisposable & { release: () => void }> {
  const released = Promise.withResolvers<void>();
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    clients.add(client);
    const docker = connect(socketPath);
    client.on('error', () => docker.destroy()).on('close', () => docker.destroy());
    docker.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.once('data', (first: Buffer) => {
      docker.write(first);
      client.pipe(docker);
      const isMaking = first.toString('latin1').startsWith('POST /containers/create');
      void (isMaking ? released.promise : Promise.resolve()).then(() => docker.pipe(client));
    });
  }).listen(path);
  await once(server, 'listening');
  return {
    release: () => released.resolve(),
    [Symbol.asyncDispose]: async () => {
      server.close();
      for (const client of clients) client.destroy();
      await once(server, 'close');
    },
  };
}

describe('a container that Docker makes when nobody waits for it any more', () => {
  it(
    'is removed as soon as Docker has told of it',
    proves(['ORC-106', 'ORC-118'], async () => {
      await using stack = new AsyncDisposableStack();
      const room = mkdtempSync(join(tmpdir(), 'capstan-late-'));
      stack.defer(() => rmSync(room, { recursive: true, force: true }));
      const docker = stack.use(await TestDocker.start());
      const image = await provideLocalImage(new Daemon(docker.socketPath));
      const socketPath = join(room, 'docker.sock');
      const slow = stack.use(await slowToTell(docker.socketPath, socketPath));
      const driver = new DockerDriver({ socketPath, image, room: join(room, 'gates'), owner: room });
      const ids = { uid: process.getuid?.() || 234_569, gid: process.getgid?.() || 234_569 };
      const spec = { agentId: 'agent-one', argv: ['/bin/true'], env: {}, cwd: '/', mounts: [], limits: {}, ...ids };
      await expect(driver.prepare({ ...spec, network: 'none' })).rejects.toMatchObject({ code: 'sandbox-failed' });
      await until('Docker has made it', async () => (await docker.containers()).length === 1);
      slow.release();
      await until('it is removed', async () => (await docker.containers()).length === 0);
      expect(readdirSync(join(room, 'gates'))).toEqual([]);
    }),
  );
});
