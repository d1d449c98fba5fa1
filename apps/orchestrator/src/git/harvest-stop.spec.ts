import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@capstan/platform';
import {
  BubblewrapDriver,
  signalHandle,
  waitGone,
  type KillHandle,
  type PreparedSandbox,
  type SandboxSpec,
} from '@capstan/sandbox';
import { TestRepository } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { GitRoom, type TestAgent } from '../../test/git-room.js';
import { harvest, type HarvestOrder } from './index.js';

jest.setTimeout(60_000);

const logger = createLogger('test', { level: 'silent' });

/** Its sandboxes cannot be signalled until it relents: what their control group is killed by is a directory. */
class Unwilling extends BubblewrapDriver {
  readonly begun = Promise.withResolvers<void>();
  private readonly cgroup = mkdtempSync(join(tmpdir(), 'capstan-harvest-'));
  private readonly made: { sandbox: PreparedSandbox; handle: KillHandle }[] = [];

  constructor() {
    super();
    mkdirSync(join(this.cgroup, 'cgroup.kill'));
  }

  override async prepare(spec: SandboxSpec): Promise<PreparedSandbox> {
    const sandbox = await super.prepare(spec);
    const { handle } = sandbox;
    this.made.push({ sandbox, handle });
    const go = sandbox.go.bind(sandbox);
    return Object.assign(sandbox, {
      handle: { ...handle, cgroup: this.cgroup },
      go: async () => {
        await go();
        this.begun.resolve();
      },
    });
  }

  /** Its sandboxes can be signalled from here on. */
  relent(): void {
    rmSync(this.cgroup, { recursive: true, force: true });
  }

  /** Ends those that there are. */
  async end(): Promise<void> {
    this.relent();
    for (const { sandbox, handle } of this.made) {
      await signalHandle(handle);
      await sandbox.exited;
      expect(await waitGone(handle, 15_000)).toBe(true);
      await sandbox.dispose();
    }
  }
}

describe('a harvest that cannot be signalled', () => {
  let room: GitRoom;
  let source: TestRepository;
  let driver: Unwilling;
  let agent: TestAgent;
  let error: jest.SpyInstance;

  beforeEach(async () => {
    room = new GitRoom();
    source = new TestRepository();
    driver = new Unwilling();
    agent = await room.agentOn(source.path);
    error = jest.spyOn(logger, 'error');
  });
  afterEach(async () => {
    error.mockRestore();
    await driver.end();
    room[Symbol.dispose]();
    source[Symbol.dispose]();
  });

  /** Once what nobody waited for ended the whole process. */
  const outlives = async (order: Partial<HarvestOrder>, stop: () => void): Promise<void> => {
    const taking = expect(harvest({ ...agent.harvestOrder(), driver, logger, ...order })).rejects.toThrow();
    await driver.begun.promise;
    stop();
    await until('that is logged', () => error.mock.calls.length > 0);
    expect(error).toHaveBeenCalledWith(expect.objectContaining({ agentId: agent.worktree.agentId }));
    if (order.limits?.timeoutMs === undefined) await driver.end();
    else driver.relent();
    await taking;
  };

  it('is left for later where nobody wants it any more', async () => {
    await agent.run('dd of=endless bs=1 count=0 seek=4T');
    const abort = new AbortController();
    await outlives({ signal: abort.signal, limits: { fileBytes: 2 ** 43 } }, () => abort.abort());
  });

  it('is left for later where it takes too long, and then signalled until it ends', async () => {
    await agent.run('dd of=endless bs=1 count=0 seek=4T');
    await outlives({ limits: { fileBytes: 2 ** 43, timeoutMs: 700 } }, () => undefined);
  });

  it('is left for later where its pack is refused', async () => {
    await agent.run('head -c 3000000 /dev/urandom > noise');
    await outlives({ limits: { packBytes: 1 << 20 } }, () => undefined);
  });
});
