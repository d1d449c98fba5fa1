import { mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { HttpsServer, ownersFile, SshServer } from '../git-servers.js';
import { HardRoom } from '../hard-room.js';
import { sandboxesOf } from '../test-execution.js';
import type { TestSandbox } from '../test-sandbox.js';

const PASSWORD = 'hawser: \'7" $(touch x)';

/** A server that lets the owner in, and not do everything. */
interface Guarded {
  url: string;
  /** What reaches it, for the owner's file. */
  credential: object;
  server: AsyncDisposable;
}

/** What every sandbox owes to agents whose owner may not do all that they need. @param ways in which a push is denied */
export function deniedPushContract(sandbox: TestSandbox, ways: readonly ('https' | 'ssh')[]): void {
  describe('an agent whose credentials may not do all', () => {
    const held = new AsyncDisposableStack();
    let room: HardRoom;
    let remote: string;

    beforeAll(async () => {
      const source = held.use(new TestRepository());
      room = held.use(await HardRoom.start(sandbox));
      remote = room.remoteOf(source);
    });
    afterAll(() => held.disposeAsync());

    async function byHttps(forbidden: RegExp): Promise<Guarded> {
      const server = await HttpsServer.start(directoryOf('https'), dirname(remote), `capstan:${PASSWORD}`, forbidden);
      const match = `https://127.0.0.1:${String(server.port)}/*`;
      const url = match.replace('*', basename(remote));
      return { url, credential: { match, username: 'capstan', password: PASSWORD, ca: server.ca }, server };
    }

    async function bySsh(): Promise<Guarded> {
      const server = await SshServer.start(join(directoryOf('ssh'), 'read-only'), true);
      const url = `ssh://${userInfo().username}@127.0.0.1:${String(server.port)}${remote}`;
      return { url, credential: { match: url, key: server.key, knownHosts: server.knownHosts }, server };
    }

    function directoryOf(name: string): string {
      const directory = join(room.execution.instance.directory, name);
      mkdirSync(directory, { recursive: true });
      return directory;
    }

    /** Lets agents work on what is guarded so, with the owner's credentials. */
    async function allow({ url, credential }: Guarded): Promise<void> {
      const { instance, settings } = room.execution;
      ownersFile(settings.paths.gitCredentials, JSON.stringify({ version: 1, credentials: [credential] }));
      await instance.writePolicy({ repositories: [url], sandboxes: sandboxesOf(sandbox.docker()) });
    }

    it.each(ways)('ends as push-rejected where they may read and not write, and its work is saved: %s', (way) =>
      proves(['ORC-110', 'ORC-111', 'ORC-118'], async () => {
        const guarded = way === 'https' ? await byHttps(/git-receive-pack/) : await bySsh();
        await using _server = guarded.server;
        await allow(guarded);
        const id = await room.spawn(guarded.url, 'write', { options: { maxRetries: 3 } });
        const sentence = 'The remote does not let this instance push.';
        expect(await room.failed(id)).toEqual({ code: 'push-rejected', sentence });
        expect(await room.salvaged(id, 'done.md')).toBe(`# ${id}`);
        expect(git(remote, 'branch', '--list', 'capstan/*')).toBe('');
        const { execution } = room;
        const text = await execution.textOf(id);
        expect(text).toContain(sentence);
        expect(text).not.toContain('hawser');
        await execution.isClean(sandbox);
      })(),
    );

    it(
      'ends as repository-missing where they may not even read, and is not tried again',
      proves('ORC-110', async () => {
        const guarded = await byHttps(/git-upload-pack/);
        await using _server = guarded.server;
        await allow(guarded);
        const id = await room.spawn(guarded.url, 'write', { options: { maxRetries: 3 } });
        expect(await room.failed(id)).toMatchObject({ code: 'repository-missing' });
        expect(await room.execution.textOf(id)).not.toContain('Start 2');
      }),
    );
  });
}
