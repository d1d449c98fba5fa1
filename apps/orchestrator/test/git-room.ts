import { chmodSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { agentId, taskId } from '@capstan/protocol';
import {
  BubblewrapDriver,
  signalHandle,
  waitGone,
  type Mount,
  type PreparedSandbox,
  type SandboxDriver,
} from '@capstan/sandbox';
import { git, TestRepository } from '../../../test/support/repository.js';
import { RepositoryStore, type BareRepository, type HarvestOrder, type Worktree } from '../src/git/index.js';

const IS_ROOT = process.getuid?.() === 0;
const UID = IS_ROOT ? 234_568 : (process.getuid?.() ?? 0);
const BUBBLEWRAP = new BubblewrapDriver();

/** A store and a place for worktrees in a temporary directory; gone at the end of its scope. */
export class GitRoom implements Disposable {
  private readonly root = realpathSync(mkdtempSync(join(tmpdir(), 'capstan-git-')));
  /** Where worktrees are made. */
  readonly parent = join(this.root, 'agents');
  readonly store = new RepositoryStore({ root: join(this.root, 'repositories') });
  /** Created by whatever an attack manages to run outside of a sandbox. */
  readonly marker = join(this.root, 'open', 'marker');

  /** @param driver of its agents, and of what is harvested of them. */
  constructor(private readonly driver: SandboxDriver = BUBBLEWRAP) {
    chmodSync(this.root, 0o711);
    mkdirSync(this.parent, { mode: 0o711 });
    // Anybody may make the marker: that it is not there must not be owed to a permission.
    mkdirSync(join(this.root, 'open'));
    chmodSync(join(this.root, 'open'), 0o777);
  }

  get isMarked(): boolean {
    return existsSync(this.marker);
  }

  /** A file of the host that no agent may see. */
  secretDirectory(): string {
    const directory = join(this.root, 'secret');
    mkdirSync(directory);
    writeFileSync(join(directory, 'secret.txt'), 'the secret of the host\n');
    return directory;
  }

  bareCloneOf(source: TestRepository): string {
    const path = join(this.root, 'remote.git');
    git(this.root, 'clone', '-q', '--bare', source.path, path);
    mkdirSync(join(path, 'hooks'), { recursive: true });
    return path;
  }

  async agentOn(path: string, names: { agentId?: string; store?: RepositoryStore } = {}): Promise<TestAgent> {
    const repository = await (names.store ?? this.store).open('default', path);
    const { commit } = await repository.resolveBranch('');
    const id = agentId(names.agentId ?? 'agent-one');
    const order = { agentId: id, taskId: taskId('task-one'), commit, uid: UID, gid: UID, parent: this.parent };
    return new TestAgent(repository, await repository.addWorktree(order), this.driver);
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** What an attack on the host's git begins with: an agent on a clone of a small repository. */
export interface AttackedRoom {
  room: GitRoom;
  source: TestRepository;
  /** The clone, to which is pushed. */
  remote: string;
  agent: TestAgent;
}

/** Made anew on a driver; whoever calls disposes of room and source. */
export async function attackedRoom(driver: SandboxDriver): Promise<AttackedRoom> {
  const room = new GitRoom(driver);
  const source = new TestRepository({ 'README.md': '# Quay\n', 'src/a.ts': 'export {};\n' });
  const remote = room.bareCloneOf(source);
  return { room, source, remote, agent: await room.agentOn(remote) };
}

/** A worktree, and a way to do as an agent does: in a sandbox. */
export class TestAgent {
  constructor(
    readonly repository: BareRepository,
    readonly worktree: Worktree,
    private readonly driver: SandboxDriver = BUBBLEWRAP,
  ) {}

  harvestOrder(): HarvestOrder {
    return { repository: this.repository, worktree: this.worktree, driver: this.driver, uid: UID, gid: UID };
  }

  /** @returns what the script printed. */
  async run(script: string): Promise<string> {
    const sandbox = await this.start(['/bin/sh', '-c', script]);
    const [said] = await Promise.all([text(sandbox.stdout), sandbox.exited]);
    await stop(sandbox);
    return said;
  }

  /**
   * Runs beside whatever the test does, for as long as it is in scope.
   *
   * @param told hears what it prints. @param mounts beside those of the work tree.
   */
  async live(argv: string[], told: (said: string) => void, mounts: Mount[] = []): Promise<AsyncDisposable> {
    const sandbox = await this.start(argv, mounts);
    sandbox.stdout.on('data', (said: Buffer) => told(said.toString('utf8')));
    return { [Symbol.asyncDispose]: () => stop(sandbox) };
  }

  private async start(argv: string[], mounts: Mount[] = []): Promise<PreparedSandbox> {
    const sandbox = await this.driver.prepare({
      agentId: this.worktree.agentId,
      argv,
      env: {
        PATH: '/usr/bin:/bin',
        HOME: '/tmp',
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: 'safe.directory',
        GIT_CONFIG_VALUE_0: '*',
        GIT_OPTIONAL_LOCKS: '0',
      },
      cwd: '/workspace',
      uid: UID,
      gid: UID,
      mounts: [...mounts, ...this.worktree.mounts()],
      limits: {},
      network: 'none',
    });
    sandbox.stderr.resume();
    await sandbox.go();
    return sandbox;
  }
}

/** Ends it, whether or not it has ended by itself. */
async function stop(sandbox: PreparedSandbox): Promise<void> {
  await signalHandle(sandbox.handle);
  await sandbox.exited;
  await waitGone(sandbox.handle, 30_000);
  await sandbox.dispose();
}
