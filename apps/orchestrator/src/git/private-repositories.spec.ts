import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { HttpsServer, ownersFile, SshServer } from '../../test/git-servers.js';
import { GitRoom } from '../../test/git-room.js';
import { push, RepositoryStore } from './index.js';

jest.setTimeout(120_000);

const PASSWORD = 'hawser: \'7" $(touch x)';

describe('repositories that ask who we are', () => {
  let room: GitRoom;
  let source: TestRepository;
  let directory: string;
  let remote: string;
  let file: string;
  let open: AsyncDisposableStack;

  beforeEach(() => {
    room = new GitRoom();
    source = new TestRepository();
    directory = mkdtempSync(join(tmpdir(), 'capstan-servers-'));
    remote = room.bareCloneOf(source);
    file = join(directory, 'git-credentials.yaml');
    open = new AsyncDisposableStack();
  });
  afterEach(async () => {
    await open.disposeAsync();
    for (const each of [room, source]) each[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const store = (): RepositoryStore => new RepositoryStore({ root: join(room.parent, 'store'), credentialsFile: file });
  /** Clones, pushes a branch, fetches it again. */
  const goRound = async (url: string): Promise<void> => {
    const repository = await store().open('default', url);
    const { commit } = await repository.resolveBranch('');
    await push({ repository, branch: 'capstan/one', commit });
    expect(git(remote, 'rev-parse', 'refs/heads/capstan/one')).toBe(commit);
    const again = await store().open('default', url);
    expect(await again.commitOf('refs/remotes/origin/capstan/one')).toBe(commit);
  };
  const everything = (): string =>
    execFileSync('grep', ['-ral', '-F', PASSWORD.slice(0, 8), join(room.parent, 'store')], { encoding: 'utf8' });

  describe('by https', () => {
    let server: HttpsServer;
    let url: string;
    const credentials = (over: object = {}, mode = 0o600): string =>
      ownersFile(
        file,
        JSON.stringify({
          version: 1,
          credentials: [
            {
              match: `https://127.0.0.1:${String(server.port)}/*`,
              username: 'capstan',
              password: PASSWORD,
              ca: server.ca,
              ...over,
            },
          ],
        }),
        mode,
      );

    beforeEach(async () => {
      server = open.use(await HttpsServer.start(directory, join(remote, '..'), `capstan:${PASSWORD}`));
      url = `https://127.0.0.1:${String(server.port)}/remote.git`;
    });

    it(
      'clones, pushes and fetches with the owner’s password, which is in no file of the repository',
      proves('ORC-110', async () => {
        credentials();
        await goRound(url);
        expect(server.requests.some((line) => line.startsWith('POST') && line.endsWith('git-receive-pack known'))).toBe(
          true,
        );
        expect(everything).toThrow();
      }),
    );

    it('are fetched again where they were moved while they were fetched, and are back at what they had said', async () => {
      credentials();
      const opened = store();
      const main = async (): Promise<string> =>
        (await (await opened.open('default', url)).resolveBranch('main')).commit;
      const first = await main();
      const second = source.commit('Go on', { 'a.md': 'a\n' });
      git(source.path, 'push', '-q', remote, 'HEAD:refs/heads/aside');
      // Asked what it has, and then asked for it.
      let asked = 0;
      server.onRequest = (line) => {
        if (/^GET .*service=git-upload-pack known$/.test(line)) asked += 1;
        if (asked === 2) git(remote, 'update-ref', 'refs/heads/main', second);
      };
      expect(await main()).toBe(second);
      server.onRequest = () => undefined;
      git(remote, 'update-ref', 'refs/heads/main', first);
      expect(await main()).toBe(first);
    });

    it('says repository-missing without a credential, with a wrong one, and to a server that nobody vouches for', async () => {
      await expect(store().open('default', url)).rejects.toThrow();
      credentials({ password: 'wrong' });
      await expect(store().open('default', url)).rejects.toMatchObject({ code: 'repository-missing' });
      credentials({ ca: undefined });
      const fault: unknown = await store()
        .open('default', url)
        .catch((error: unknown) => error);
      expect(String(fault)).not.toContain(PASSWORD.slice(0, 8));
      expect(server.requests.filter((line) => line.endsWith(' known'))).toEqual([]);
    });

    it.each([
      ['is not let read', /git-upload-pack/],
      ['is not let write', /git-receive-pack/],
    ])('says so where the owner’s user %s', (what, forbidden) =>
      proves('ORC-110', async () => {
        await server[Symbol.asyncDispose]();
        server = open.use(await HttpsServer.start(directory, join(remote, '..'), `capstan:${PASSWORD}`, forbidden));
        url = `https://127.0.0.1:${String(server.port)}/remote.git`;
        credentials();
        const opened = store().open('default', url);
        if (what === 'is not let read') {
          await expect(opened).rejects.toMatchObject({ code: 'repository-missing' });
          return;
        }
        const repository = await opened;
        const { commit } = await repository.resolveBranch('');
        await expect(push({ repository, branch: 'capstan/one', commit })).rejects.toMatchObject({ reason: 'denied' });
        expect(git(remote, 'branch', '--list', 'capstan/*')).toBe('');
      })(),
    );

    // All of them wrote the answering program at the same name: most failed, some as a push that the remote refused.
    it('is asked by many at the same moment', async () => {
      credentials();
      const repositories = store();
      const { commit } = await (await repositories.open('one', url)).resolveBranch('');
      await Promise.all(
        ['one', 'two', 'three', 'four', 'five', 'six'].map(async (tenant) => {
          const repository = await repositories.open(tenant, url);
          await push({ repository, branch: `capstan/${tenant}`, commit });
        }),
      );
    });

    it('refuses a file that others can read, a link in its place, and one that it does not understand', async () => {
      const refused = async (sentence: RegExp): Promise<void> => {
        const fault = (await store()
          .open('default', url)
          .catch((error: unknown) => error)) as { code: string; sentence: string };
        expect(fault.code).toBe('git-credentials');
        expect(fault.sentence).toMatch(sentence);
        expect(fault.sentence).not.toContain('hawser');
        // An agent is told the sentence.
        expect(fault.sentence).not.toContain(directory);
      };
      for (const mode of [0o640, 0o604, 0o644]) {
        credentials({}, mode);
        await refused(/can be read by others/);
      }
      credentials({ token: 'hawser' });
      await refused(/a field that is not known/);
      ownersFile(file, 'version: 1\ncredentials: [ {hawser');
      await refused(/is no YAML/);
      rmSync(file);
      execFileSync('ln', ['-s', ownersFile(join(directory, 'other'), 'version: 1'), file]);
      await refused(/cannot be read/);
    });
  });

  describe('by ssh', () => {
    let server: SshServer;
    let url: string;
    const credentials = (over: object = {}): string =>
      ownersFile(
        file,
        JSON.stringify({
          version: 1,
          credentials: [{ match: url, key: server.key, knownHosts: server.knownHosts, ...over }],
        }),
      );

    beforeEach(async () => {
      server = open.use(await SshServer.start(join(directory, 'ssh')));
      url = `ssh://${userInfo().username}@127.0.0.1:${String(server.port)}${remote}`;
    });

    it(
      'clones, pushes and fetches with the owner’s key',
      proves('ORC-110', async () => {
        credentials();
        await goRound(url);
      }),
    );

    it(
      'says so where the owner’s key may read and not write',
      proves('ORC-110', async () => {
        server = open.use(await SshServer.start(join(directory, 'read-only'), true));
        url = `ssh://${userInfo().username}@127.0.0.1:${String(server.port)}${remote}`;
        credentials();
        const repository = await store().open('default', url);
        const { commit } = await repository.resolveBranch('');
        const pushed = push({ repository, branch: 'capstan/one', commit });
        await expect(pushed).rejects.toMatchObject({
          reason: 'denied',
          sentence: 'The remote does not let this instance push.',
        });
      }),
    );

    it('goes to no host whose key the owner has not named, and asks nobody', async () => {
      const other = join(directory, 'other-host');
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', other]);
      const [type = '', key = ''] = readFileSync(`${other}.pub`, 'utf8').split(' ');
      const known = join(directory, 'known');
      for (const text of ['', `[127.0.0.1]:${String(server.port)} ${type} ${key}\n`]) {
        writeFileSync(known, text);
        credentials({ knownHosts: known });
        await expect(store().open('default', url)).rejects.toMatchObject({ code: 'repository-missing' });
      }
    });

    it('uses no key that others can read, and no key of the machine', async () => {
      credentials();
      chmodSync(server.key, 0o644);
      await expect(store().open('default', url)).rejects.toMatchObject({ code: 'git-credentials' });
      rmSync(file);
      await expect(store().open('default', url)).rejects.toMatchObject({ code: 'repository-missing' });
      expect(readdirSync(room.parent)).toContain('store');
    });
  });
});
