import { once } from 'node:events';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { createLogger } from '@capstan/platform';
import { BubblewrapDriver, type SandboxDriver } from '@capstan/sandbox';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { GitRoom, type TestAgent } from '../../test/git-room.js';
import { HeldDriver } from '../../test/held-driver.js';
import { planFor } from '../../test/plans.js';
import { SCAN_FROM_SOURCE } from '../../test/scan-program.js';
import { noGates } from '../coordinator/gates.js';
import { withinTime } from '../killswitch/within-time.js';
import { SecretScanner } from '../secret-scan/index.js';
import { AgentRun } from './agent-run.js';
import { DEFAULT_AUTHOR, Harvester, HarvestStopped } from './harvester.js';
import { Sessions } from './session.js';
import type { SpawnPlan } from './spawn-plan.js';
import type { Submission } from './submission.js';
import { Turns } from './turns.js';
import type { WorkPlace } from './work-place.js';

jest.setTimeout(120_000);

const logger = createLogger('test', { level: 'silent' });

/** A source that takes connections and says nothing. */
class SilentRemote implements AsyncDisposable {
  readonly asked: Promise<unknown>;
  private readonly sockets: Socket[] = [];

  private constructor(private readonly server: Server) {
    this.asked = once(server, 'connection');
    server.on('connection', (socket) => {
      this.sockets.push(socket.on('error', () => undefined));
      socket.resume();
    });
  }

  static async start(): Promise<SilentRemote> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new SilentRemote(server);
  }

  get url(): string {
    return `https://127.0.0.1:${String((this.server.address() as AddressInfo).port)}/x.git`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}
const KEY = ['sk', 'ant', 'api03', 'k'.repeat(60)].join('-');

describe('work that is judged', () => {
  let room: GitRoom;
  let source: TestRepository;
  let remote: string;
  let agent: TestAgent;
  let plan: SpawnPlan;
  let place: WorkPlace;
  let harvester: Harvester;
  let isStopped: boolean;
  let sessions: Sessions;
  let turns: Turns;
  const harvesterOn = (driver: SandboxDriver): Harvester =>
    new Harvester({
      driver,
      repositories: room.store,
      sessions,
      scanner: new SecretScanner({ program: SCAN_FROM_SOURCE }),
      secretScan: async () => ({ allow: [] }),
      gates: noGates(logger),
      turns,
      author: async () => DEFAULT_AUTHOR,
      instanceId: async () => 'quay',
      isStopped: async () => isStopped,
      logger,
    });

  beforeEach(async () => {
    room = new GitRoom();
    isStopped = false;
    source = new TestRepository();
    remote = room.bareCloneOf(source);
    agent = await room.agentOn(remote);
    const { worktree, repository } = agent;
    const { agentId, taskId } = worktree;
    plan = planFor({ agentId, taskId, repository: remote });
    const { uid, gid } = agent.harvestOrder();
    const session = { agentId, directory: room.parent, uid, gid, runDirectory: room.parent, socketPath: '' };
    const { ref: targetRef } = await repository.resolveBranch('');
    sessions = new Sessions(join(dirname(room.parent), 'sessions'), undefined);
    await sessions.open(agentId);
    await sessions.remember({ agentId, uid, gid });
    place = { session, repository, worktree, targetRef, earlierTrees: new Map(), trialBytes: 0 };
    turns = new Turns(1);
    harvester = harvesterOn(new BubblewrapDriver());
  });
  afterEach(() => {
    for (const each of [room, source]) each[Symbol.dispose]();
  });

  const attempt = (over: Partial<Submission> = {}, signal = new AbortController().signal): Promise<void> =>
    harvester.try(plan, place, { summary: 'Work', ...over }, { signal, hold: () => undefined });
  const upstream = (): string => {
    const commit = source.commit('Another title', { 'README.md': '# Another title\n' });
    git(source.path, 'push', '-q', remote, 'HEAD:main');
    return commit;
  };
  const objects = (): string =>
    git(place.repository.dir, 'cat-file', '--batch-check', '--batch-all-objects', '--unordered');

  // A merge puts the tree that was in conflict into the history that is pushed.
  it(
    'is searched for secrets before it is told to be in conflict, and is remembered only without them',
    proves('ORC-120', async () => {
      const onto = upstream();
      await agent.run(`echo "# Mine" > README.md; echo "key = '${KEY}'" > .env`);
      await expect(attempt()).rejects.toMatchObject({ code: 'secret-found' });
      expect(place.earlierTrees.size).toBe(0);
      await agent.run('rm .env');
      await expect(attempt()).rejects.toMatchObject({ code: 'merge-conflict' });
      const earlier = place.earlierTrees.get(onto) ?? '';
      expect(git(place.repository.dir, 'ls-tree', '--name-only', earlier)).toBe('README.md');
      await attempt({ onto, by: 'merge' });
    }),
  );

  it(
    'is searched as the agent made it too, where what is merged of it no longer holds the secret',
    proves('ORC-120', async () => {
      git(source.path, 'push', '-q', remote, `HEAD:refs/heads/capstan/${plan.taskId}`);
      source.commit('Theirs', { '.env': `key = '${KEY}'\n` });
      source.commit('Other', { 'other.md': 'x\n' });
      git(source.path, 'push', '-q', remote, `HEAD:refs/heads/capstan/${plan.taskId}`);
      await agent.run(`echo mine > mine; echo "key = '${KEY}'" > .env`);
      await expect(attempt()).rejects.toMatchObject({ code: 'secret-found' });
    }),
  );

  it(
    'leaves nothing of a trial in the repository that later agents read, refused or accepted',
    proves('ORC-120', async () => {
      await room.store.open('default', remote);
      const before = objects();
      await agent.run(`echo "key = '${KEY}'" > .env`);
      await expect(attempt()).rejects.toMatchObject({ code: 'secret-found' });
      await agent.run('echo fine > .env');
      await attempt();
      expect(objects()).toBe(before);
      expect(readdirSync(place.repository.dir.replace(/git$/, 'quarantine'))).toEqual([]);
      expect(place.trialBytes).toBeGreaterThan(0);
      place.trialBytes = 1024 ** 3;
      await expect(attempt()).rejects.toMatchObject({ code: 'harvest-refused' });
    }),
  );

  it('waits for nobody’s slow remote', async () => {
    await using silent = await SilentRemote.start();
    await agent.run('echo fine > fine');
    const slow = harvester
      .try(
        { ...plan, repository: silent.url },
        place,
        { summary: 'Slow' },
        {
          signal: new AbortController().signal,
          hold: () => undefined,
        },
      )
      .then(
        () => 'accepted',
        () => 'refused',
      );
    await silent.asked;
    await attempt();
    await silent[Symbol.asyncDispose]();
    expect(await slow).toBe('refused');
  });

  describe('of an agent that is killed meanwhile', () => {
    const run = (): AgentRun =>
      new AgentRun(
        plan.agentId,
        () => undefined,
        () => undefined,
      );
    const branches = (): string => git(remote, 'branch', '--list', 'capstan/*');
    const take = (it: AgentRun): Promise<unknown> => harvester.take(it, plan, place, { summary: 'Work' });

    it(
      'is not pushed where the reaper says that a kill-all means it, though nobody has told the run',
      proves('ORC-117', async () => {
        await agent.run('echo mine > mine');
        isStopped = true;
        await expect(take(run())).rejects.toMatchObject({ pushing: undefined });
        expect(branches()).toBe('');
      }),
    );

    it(
      'is not let out by a push that has begun',
      proves('ORC-117', async () => {
        const began = join(room.parent, 'began');
        const hook = join(remote, 'hooks', 'pre-receive');
        writeFileSync(hook, `#!/bin/sh\ntouch ${began}\nexec sleep 30\n`, { mode: 0o755 });
        await agent.run('echo mine > mine');
        const killed = run();
        const taking = take(killed).then(
          () => 'pushed',
          (error: unknown) => error,
        );
        await until('the push has begun', () => existsSync(began));
        // Known to the next life, should this one end now.
        const going = { branch: `capstan/${plan.taskId}`, commit: expect.stringMatching(/^[0-9a-f]{40}$/) };
        expect(await sessions.recall(plan.agentId)).toMatchObject({ pushing: going });
        killed.intend({ kind: 'killed' });
        expect(await taking).toMatchObject({ pushing: going });
        expect(branches()).toBe('');
      }),
    );

    it('is not said to have been pushing, later, where the source has refused it', async () => {
      writeFileSync(join(remote, 'hooks', 'pre-receive'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
      await agent.run('echo mine > mine');
      await expect(take(run())).rejects.toMatchObject({ reason: 'hook' });
      expect(await sessions.recall(plan.agentId)).not.toHaveProperty('pushing');
    });

    const stopped = async (taking: Promise<unknown>): Promise<void> => {
      const ended = taking.catch((error: unknown) => error);
      expect(await withinTime(30_000, ended, 'too late')).toBeInstanceOf(HarvestStopped);
      expect(branches()).toBe('');
    };

    it(
      'is no more waited for in the queue for a turn',
      proves('ORC-126', async () => {
        const others = Promise.withResolvers<void>();
        const theirs = turns.run(() => others.promise);
        await agent.run('echo mine > mine');
        const killed = run();
        const taking = take(killed);
        killed.intend({ kind: 'killed' });
        await stopped(taking);
        others.resolve();
        await theirs;
      }),
    );

    it(
      'is no more waited for while it is read',
      proves('ORC-126', async () => {
        await using driver = new HeldDriver();
        harvester = harvesterOn(driver);
        await agent.run('echo mine > mine');
        const killed = run();
        const taking = take(killed);
        await driver.begun;
        killed.intend({ kind: 'killed' });
        await stopped(taking);
      }),
    );

    it(
      'is no more waited for while its source is asked',
      proves('ORC-126', async () => {
        await using silent = await SilentRemote.start();
        plan = { ...plan, repository: silent.url };
        await agent.run('echo mine > mine');
        const killed = run();
        const taking = take(killed);
        await silent.asked;
        killed.intend({ kind: 'killed' });
        await stopped(taking);
      }),
    );
  });

  it('prepares no sandbox, and waits for no turn, where the agent’s end is there', async () => {
    const ended = AbortSignal.abort(new Error('the end'));
    await expect(attempt({}, ended)).rejects.toThrow('the end');
    expect(readdirSync(room.parent)).toEqual([expect.stringMatching(/^agent-/), expect.stringMatching(/\.gitfile$/)]);
  });
});
