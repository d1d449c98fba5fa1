import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { closeValkey, connectValkey, ReaperClient } from '@capstan/platform';
import { agentId, newId, taskId, type AgentId, type AgentStateName, type AgentView } from '@capstan/protocol';
import { git } from '../../../test/support/repository.js';
import { proves } from '../../../test/support/proves.js';
import { until } from '../../../test/support/until.js';
import { TestExecution } from '../test/test-execution.js';
import type { SpawnPlan } from './spawner/spawn-plan.js';
import { AgentStore } from './valkey/agent.store.js';

jest.setTimeout(300_000);

describe('the orchestrator', () => {
  let execution: TestExecution;
  beforeAll(async () => (execution = await TestExecution.start(join(__dirname, '..', 'test', 'test-agent.mjs'))));
  afterAll(() => execution[Symbol.asyncDispose]());

  /** Nothing of it is left on disk, in git or as a process. */
  async function isClean(id: AgentId): Promise<void> {
    await until('it is clean', async () => (await execution.store.untidy()).length === 0 || undefined);
    expect(await execution.store.live()).not.toContain(id);
    expect(await readdir(execution.settings.paths.agents)).toEqual([]);
  }

  /** The states that it went through until it was cleaned up, as they were told. */
  async function lifeOf(id: AgentId): Promise<AgentStateName[]> {
    const changes = (await execution.toldOf(id, 'cleaned')).filter(({ kind }) => kind === 'agent');
    const states = changes.map(({ json }) => (JSON.parse(json) as AgentView).state);
    return states.filter((state, at) => state !== states[at - 1]);
  }

  const working = (id: AgentId): Promise<unknown> =>
    until('it works', async () => (await execution.textOf(id)).includes('working') || undefined);

  it(
    'takes an agent from the queue through its sandbox to a pushed commit',
    proves(['ORC-109', 'ORC-118'], async () => {
      const id = await execution.spawn('write');
      const agent = await execution.agentIn(id, 'completed');
      expect(agent).toMatchObject({
        error: null,
        startedAt: expect.any(String),
        completedAt: expect.any(String),
        harvest: { branch: `capstan/${agent.taskId}`, files: ['done.md'], pushed: true },
      });
      const branch = agent.harvest?.branch ?? '';
      expect(git(execution.remote, 'rev-parse', branch)).toBe(agent.harvest?.commit);
      expect(git(execution.remote, 'show', `${branch}:done.md`)).toBe(`# ${id}`);
      expect(git(execution.remote, 'log', '-1', '--format=%s', branch)).toBe('Write done.md');
      expect(git(execution.remote, 'log', '-1', '--format=%b', branch)).toContain(`Capstan-Agent: ${id}`);
      await isClean(id);
      expect(await lifeOf(id)).toEqual(['queued', 'spawning', 'running', 'completed']);
      const { queue } = execution.orchestrator.api;
      await until('its job is done', async () => (await queue.counts()).completed === 1 || undefined);
    }),
  );

  it('gives the agent nothing of the host’s environment, and a uid of its own', async () => {
    const id = await execution.spawn('environment');
    await execution.agentIn(id, 'failed');
    const text = await execution.textOf(id);
    const [json = '{}'] = /^\{.*\}$/m.exec(text) ?? [];
    const { environment, uid } = JSON.parse(json) as { environment: Record<string, string>; uid: number };
    expect(Object.keys(environment)).not.toContain('CAPSTAN_VALKEY_URL');
    expect(environment['HOME']).toBe('/tmp');
    if (process.getuid?.() === 0) expect(uid).toBeGreaterThanOrEqual(200_000);
  });

  it.each([
    ['crash', 'agent-crashed'],
    ['quiet', 'agent-no-submit'],
    ['nothing', 'agent-no-change'],
    ['iterations', 'agent-iterations'],
  ])('reports an agent that ends by "%s" as %s', (behaviour, code) =>
    proves('ORC-118', async () => {
      const id = await execution.spawn(behaviour);
      expect(await execution.agentIn(id, 'failed')).toMatchObject({
        error: { code, sentence: expect.stringMatching(/\.$/) },
        harvest: null,
      });
      await isClean(id);
    })(),
  );

  it('kills an agent whose time is up, and saves what it has done', async () => {
    const id = await execution.spawn('stubborn', { options: { timeoutMs: 1500n } });
    expect((await execution.agentIn(id, 'failed')).error?.code).toBe('agent-timeout');
    await isClean(id);
    expect(await execution.textOf(id)).toContain(`refs/capstan/salvage/${id}`);
  });

  it(
    'kills an agent that ignores signals and forks away: observed dead, saved, cleaned',
    proves(['ORC-117', 'ORC-118'], async () => {
      const id = await execution.spawn('stubborn');
      await execution.agentIn(id, 'running');
      await working(id);
      const { outcome, observation, agent } = await execution.orchestrator.api.killswitch.kill(id, 'enough');
      expect(outcome).toBe('killed');
      expect(observation.length).toBeGreaterThan(0);
      expect(agent?.state ?? (await execution.agentIn(id, 'killed')).state).toBe('killed');
      await isClean(id);
      const { repositories } = execution.settings.paths;
      const [kept = ''] = (await readdir(repositories)).filter((name) => name.endsWith('.salvage'));
      expect(git(join(repositories, kept), 'show', `refs/capstan/salvage/${id}:half.md`)).toBe('half of it');
    }),
  );

  it('follows when the spoke kills through the reaper', async () => {
    const id = await execution.spawn('idle');
    await execution.agentIn(id, 'running');
    await working(id);
    const reaper = new ReaperClient(execution.settings.paths.reaperSocket);
    expect((await reaper.kill({ agentId: id, timeoutMs: 2000 })).outcome).toBe('killed');
    reaper.close();
    expect((await execution.agentIn(id, 'killed')).error).toBeNull();
    await isClean(id);
  });

  it(
    'kills all, the running and the waiting, and starts none of them later',
    proves('ORC-117', async () => {
      const ids = [];
      for (let count = 0; count < 4; count += 1) ids.push(await execution.spawn('idle'));
      await until('two run', async () => (await execution.orchestrator.api.queue.counts()).active === 2 || undefined);
      await execution.agentIn(ids[0]!, 'running');
      await execution.agentIn(ids[1]!, 'running');
      await execution.orchestrator.api.killswitch.killAll('stop');
      for (const id of ids) await execution.agentIn(id, 'killed');
      await until('all is clean', async () => (await execution.store.untidy()).length === 0 || undefined);
      expect(await readdir(execution.settings.paths.agents)).toEqual([]);
      await execution.orchestrator.api.killswitch.rearm();
      await execution.agentIn(await execution.spawn('write'), 'completed');
    }),
  );

  it(
    'follows a kill-all of which nobody has told it, and builds nothing for those that waited',
    proves('ORC-117', async () => {
      const { queue } = execution.orchestrator.api;
      const reaper = new ReaperClient(execution.settings.paths.reaperSocket);
      const running = await execution.spawn('idle');
      await execution.agentIn(running, 'running');
      await queue.pause();
      const waiting = await execution.spawn('idle');
      const { killEpochs } = await reaper.describe();
      const epoch = (killEpochs.find(({ scope }) => scope === 'instance')?.epoch ?? 0n) + 1n;
      expect(await reaper.killAll({ scope: 'instance', epoch, timeoutMs: 5000 })).toMatchObject({ ok: true });
      for (const id of [running, waiting]) await execution.agentIn(id, 'killed');
      await until('it has left the queue', async () => (await queue.counts()).pending === 0 || undefined);
      await reaper.rearm({ scope: 'instance' });
      await queue.resume();
      // One that slipped in: with its repository missing it would fail if anything were built for it.
      const id = agentId(newId());
      const plan = { ...(await planOf(id)), killEpochs: [], repository: '/srv/none.git' };
      await execution.store.create(plan, 'digest', 100);
      await queue.add(plan);
      await execution.agentIn(id, 'killed');
      reaper.close();
    }),
  );

  it('bounds what an agent prints', async () => {
    const id = await execution.spawn('noise');
    await execution.agentIn(id, 'failed');
    const page = await execution.orchestrator.api.monitor.page(id, 0, 5000);
    expect(page.gap).toBe(true);
    expect(page.lines.every((line) => line.text.length <= 8192 && !line.text.includes('\u001b'))).toBe(true);
    expect((await stat(join(execution.settings.paths.logs, `${id}.jsonl`))).size).toBeLessThan(3 * 1024 * 1024);
  });

  it.each([
    ['repository-missing', { context: { repository: '', workItems: ['write'] } }],
    ['branch-missing', { context: { repository: '', branch: 'no-such-branch', workItems: ['write'] } }],
  ])('reports %s, and does not try again', async (code, { context }) => {
    const repository =
      code === 'repository-missing' ? join(execution.instance.directory, 'none.git') : execution.remote;
    const id = await execution.spawn('write', { context: { ...context, repository }, options: { maxRetries: 3 } });
    expect((await execution.agentIn(id, 'failed')).error?.code).toBe(code);
    expect(await execution.textOf(id)).toContain('Start 1 failed');
    await isClean(id);
  });

  it(
    'tries again what fails before GO',
    proves('ORC-108', async () => {
      const id = agentId(newId());
      const plan = await planOf(id);
      await execution.instance.stopReaper();
      const waiting = execution.instance.startReaperAfter(3000);
      await execution.store.create(plan, 'digest', 100);
      await execution.orchestrator.api.queue.add(plan);
      await execution.agentIn(id, 'completed');
      await waiting;
      expect(await execution.textOf(id)).toContain('Start 1 failed');
    }),
  );

  it.each([
    ['crashes', 'crash', 'agent-crashed'],
    ['may have pushed, as far as anybody can tell', 'write', 'push-rejected'],
  ])('never starts an agent again that %s, however many retries it has', (_, behaviour, code) =>
    proves('ORC-108', async () => {
      const hook = join(execution.remote, 'hooks', 'pre-receive');
      await writeFile(hook, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
      try {
        const id = await execution.spawn(behaviour, { options: { maxRetries: 3 } });
        expect((await execution.agentIn(id, 'failed')).error?.code).toBe(code);
        await isClean(id);
        expect(await lifeOf(id)).toEqual(['queued', 'spawning', 'running', 'failed']);
        const { queue } = execution.orchestrator.api;
        await until('no job waits for a later start', async () => {
          const { pending, active } = await queue.counts();
          return pending + active === 0;
        });
        expect((await execution.store.find(id))?.state).toBe('failed');
      } finally {
        await rm(hook);
      }
    })(),
  );

  it(
    'remembers an ended agent for so many days, then forgets it',
    proves('ORC-118', async () => {
      const valkey = await connectValkey(execution.instance.valkey.url);
      const agents = [29, 31].map((days) => ({ id: agentId(newId()), at: Date.now() - days * 86_400_000 }));
      const model = await planOf(agentId(newId()));
      for (const { id, at } of agents) {
        const past = new AgentStore(valkey, () => at);
        await past.create({ ...model, agentId: id, taskId: taskId(newId()) }, 'digest', 100);
        await past.change(id, { state: 'failed' });
      }
      await until(
        'the old one is forgotten',
        async () => (await execution.store.find(agents[1]!.id)) === undefined || undefined,
      );
      expect((await execution.store.find(agents[0]!.id))?.state).toBe('failed');
      await closeValkey(valkey);
    }),
  );

  it('mends a crash between the record and the queue', async () => {
    const id = agentId(newId());
    await execution.store.create(await planOf(id), 'digest', 100);
    expect(await execution.store.unqueued()).toEqual([id]);
    await execution.agentIn(id, 'completed');
    expect(await execution.store.unqueued()).toEqual([]);
  });

  it('ends its agents when it stops, and says that they were lost', async () => {
    const id = await execution.spawn('stubborn');
    await execution.agentIn(id, 'running');
    await working(id);
    await execution.restart(true);
    expect((await execution.agentIn(id, 'failed')).error?.code).toBe('orchestrator-lost');
    await isClean(id);
  });

  it('reports what its predecessor left when it died, after the reaper has observed it gone', async () => {
    const id = await execution.spawn('stubborn');
    await execution.agentIn(id, 'running');
    await working(id);
    // Its agent still lives, which is the worst case: in a crash it dies with its orchestrator.
    await execution.restart(false);
    expect((await execution.agentIn(id, 'failed')).error?.code).toBe('orchestrator-lost');
    await isClean(id);
  });

  async function planOf(id: AgentId): Promise<SpawnPlan> {
    const model = await execution.spawn('write');
    await execution.agentIn(model, 'completed');
    const plan = await execution.store.findPlan(model);
    if (plan === undefined) throw new Error('no plan');
    return { ...plan, agentId: id, taskId: taskId(newId()), maxRetries: 3 };
  }
});
