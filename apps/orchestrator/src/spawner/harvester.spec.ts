import { once } from 'node:events';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { createLogger } from '@capstan/platform';
import { BubblewrapDriver } from '@capstan/sandbox';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { GitRoom, type TestAgent } from '../../test/git-room.js';
import { planFor } from '../../test/plans.js';
import { SCAN_FROM_SOURCE } from '../../test/scan-program.js';
import { noGates } from '../coordinator/gates.js';
import { SecretScanner } from '../secret-scan/index.js';
import { AgentRun } from './agent-run.js';
import { DEFAULT_AUTHOR, Harvester } from './harvester.js';
import type { SpawnPlan } from './spawn-plan.js';
import type { Submission } from './submission.js';
import { Turns } from './turns.js';
import type { WorkPlace } from './work-place.js';

jest.setTimeout(120_000);

const logger = createLogger('test', { level: 'silent' });
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
    place = { session, repository, worktree, targetRef, earlierTrees: new Map(), trialBytes: 0 };
    harvester = new Harvester({
      driver: new BubblewrapDriver(),
      repositories: room.store,
      scanner: new SecretScanner({ program: SCAN_FROM_SOURCE }),
      secretScan: async () => ({ allow: [] }),
      gates: noGates(logger),
      turns: new Turns(1),
      author: async () => DEFAULT_AUTHOR,
      instanceId: async () => 'quay',
      isStopped: async () => isStopped,
      logger,
    });
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
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket.on('error', () => undefined)));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    await agent.run('echo fine > fine');
    const asked = once(silent, 'connection');
    const slow = harvester
      .try(
        { ...plan, repository: `https://127.0.0.1:${String(port)}/x.git` },
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
    await asked;
    await attempt();
    silent.close();
    for (const socket of sockets) socket.destroy();
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
        killed.intend({ kind: 'killed' });
        expect(await taking).toMatchObject({
          pushing: { branch: expect.stringMatching(/^capstan\//), commit: expect.any(String) },
        });
        expect(branches()).toBe('');
      }),
    );
  });

  it('prepares no sandbox, and waits for no turn, where the agent’s end is there', async () => {
    const ended = AbortSignal.abort(new Error('the end'));
    await expect(attempt({}, ended)).rejects.toThrow('the end');
    expect(readdirSync(room.parent)).toEqual([expect.stringMatching(/^agent-/), expect.stringMatching(/\.gitfile$/)]);
  });
});
