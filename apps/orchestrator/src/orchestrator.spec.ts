import { copyFile, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createLogger } from '@capstan/platform';
import { agentId, newId, taskId, type AgentId, type AgentStateName, type AgentView } from '@capstan/protocol';
import { git, TestRepository } from '../../../test/support/repository.js';
import { proves } from '../../../test/support/proves.js';
import { until } from '../../../test/support/until.js';
import { TestInstance } from '../test/test-instance.js';
import { loadSettings, type Settings } from './config/settings.js';
import { Orchestrator } from './orchestrator.js';
import type { SpawnPlan } from './spawner/spawn-plan.js';

const logger = createLogger('test', { level: process.env['TEST_LOG'] ?? 'silent' });
jest.setTimeout(60_000);

describe('the orchestrator', () => {
  let instance: TestInstance;
  let checkout: TestRepository;
  let remote: string;
  let settings: Settings;
  let orchestrator: Orchestrator;

  beforeAll(async () => {
    instance = await TestInstance.start();
    checkout = new TestRepository();
    remote = join(instance.directory, 'remote.git');
    git(instance.directory, 'clone', '--quiet', '--bare', checkout.path, remote);
    await instance.writePolicy({ repositories: [`${instance.directory}/*`], concurrency: 2 });
    const runtimeDir = join(instance.directory, 'runtime');
    await mkdir(runtimeDir, { mode: 0o755 });
    await copyFile(process.execPath, join(runtimeDir, 'node'));
    await copyFile(join(__dirname, '..', 'test', 'test-agent.mjs'), join(runtimeDir, 'agent.mjs'));
    settings = loadSettings({
      CAPSTAN_INSTANCE_DIR: instance.directory,
      CAPSTAN_VALKEY_URL: instance.valkey.url,
      CAPSTAN_RUNTIME_DIR: runtimeDir,
    });
    orchestrator = await begin();
  });
  afterAll(async () => {
    await end(orchestrator);
    checkout[Symbol.dispose]();
    await instance[Symbol.asyncDispose]();
  });

  async function begin(): Promise<Orchestrator> {
    const opened = await Orchestrator.open(settings, logger);
    await opened.begin();
    return opened;
  }

  async function end(it: Orchestrator): Promise<void> {
    await it.drain();
    await it.close();
  }

  async function spawn(behaviour: string, over: Record<string, unknown> = {}): Promise<AgentId> {
    const context = { repository: remote, workItems: [behaviour] };
    const agent = await orchestrator.api.admission.takeCommand(instance.signedSpawn({ context, ...over }));
    return agentId(agent.agentId);
  }

  function agentIn(id: AgentId, ...states: AgentStateName[]): Promise<AgentView> {
    return until(`agent ${id} is ${states.join(' or ')}`, async () => {
      const agent = await orchestrator.api.store.find(id);
      if (agent === undefined || states.includes(agent.state)) return agent;
      if (['completed', 'failed', 'killed'].includes(agent.state)) throw new Error(JSON.stringify(agent));
      return undefined;
    });
  }

  async function textOf(id: AgentId): Promise<string> {
    const { lines } = await orchestrator.api.monitor.page(id, 0, 5000);
    return lines.map((line) => line.text).join('\n');
  }

  /** Nothing of it is left on disk, in git or as a process. */
  async function isClean(id: AgentId): Promise<void> {
    await until('it is clean', async () => (await orchestrator.api.store.untidy()).length === 0 || undefined);
    expect(await orchestrator.api.store.live()).not.toContain(id);
    expect(await readdir(settings.paths.agents)).toEqual([]);
  }

  const working = (id: AgentId): Promise<unknown> =>
    until('it works', async () => (await textOf(id)).includes('working') || undefined);

  it(
    'takes an agent from the queue through its sandbox to a pushed commit',
    proves(['ORC-105', 'ORC-109', 'ORC-118'], async () => {
      const id = await spawn('write');
      const agent = await agentIn(id, 'completed');
      expect(agent).toMatchObject({
        error: null,
        startedAt: expect.any(String),
        completedAt: expect.any(String),
        harvest: { branch: `capstan/${agent.taskId}`, files: ['done.md'], pushed: true },
      });
      const branch = agent.harvest?.branch ?? '';
      expect(git(remote, 'rev-parse', branch)).toBe(agent.harvest?.commit);
      expect(git(remote, 'show', `${branch}:done.md`)).toBe(`# ${id}`);
      expect(git(remote, 'log', '-1', '--format=%s', branch)).toBe('Write done.md');
      expect(git(remote, 'log', '-1', '--format=%b', branch)).toContain(`Capstan-Agent: ${id}`);
      await isClean(id);
      expect((await orchestrator.api.queue.counts()).completed).toBe(1);
    }),
  );

  it('gives the agent nothing of the host’s environment, and a uid of its own', async () => {
    const id = await spawn('environment');
    await agentIn(id, 'failed');
    const text = await textOf(id);
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
      const id = await spawn(behaviour);
      expect(await agentIn(id, 'failed')).toMatchObject({
        error: { code, sentence: expect.stringMatching(/\.$/) },
        harvest: null,
      });
      await isClean(id);
    })(),
  );

  it('kills an agent whose time is up, and saves what it has done', async () => {
    const id = await spawn('stubborn', { options: { timeoutMs: 1500n } });
    expect((await agentIn(id, 'failed')).error?.code).toBe('agent-timeout');
    await isClean(id);
    expect(await textOf(id)).toContain(`refs/capstan/salvage/${id}`);
  });

  it(
    'kills an agent that ignores signals and forks away: observed dead, saved, cleaned',
    proves(['ORC-117', 'ORC-118'], async () => {
      const id = await spawn('stubborn');
      await agentIn(id, 'running');
      await working(id);
      const { outcome, observation, agent } = await orchestrator.api.killswitch.kill(id, 'enough');
      expect(outcome).toBe('killed');
      expect(observation.length).toBeGreaterThan(0);
      expect(agent?.state ?? (await agentIn(id, 'killed')).state).toBe('killed');
      await isClean(id);
      const [bare = ''] = (await readdir(settings.paths.repositories)).filter((name) => name.endsWith('.git'));
      expect(git(join(settings.paths.repositories, bare), 'show', `refs/capstan/salvage/${id}:half.md`)).toBe(
        'half of it',
      );
    }),
  );

  it('follows when the spoke kills through the reaper', async () => {
    const id = await spawn('idle');
    await agentIn(id, 'running');
    await working(id);
    const { ReaperClient } = await import('@capstan/platform');
    const reaper = new ReaperClient(settings.paths.reaperSocket);
    expect((await reaper.kill({ agentId: id, timeoutMs: 2000 })).outcome).toBe('killed');
    reaper.close();
    expect((await agentIn(id, 'killed')).error).toBeNull();
    await isClean(id);
  });

  it(
    'kills all, the running and the waiting, and starts none of them later',
    proves('ORC-117', async () => {
      const ids = [];
      for (let count = 0; count < 4; count += 1) ids.push(await spawn('idle'));
      await until('two run', async () => (await orchestrator.api.queue.counts()).active === 2 || undefined);
      await agentIn(ids[0]!, 'running');
      await agentIn(ids[1]!, 'running');
      await orchestrator.api.killswitch.killAll('stop');
      for (const id of ids) await agentIn(id, 'killed');
      await until('all is clean', async () => (await orchestrator.api.store.untidy()).length === 0 || undefined);
      expect(await readdir(settings.paths.agents)).toEqual([]);
      await orchestrator.api.killswitch.rearm();
      await agentIn(await spawn('write'), 'completed');
    }),
  );

  it('bounds what an agent prints', async () => {
    const id = await spawn('noise');
    await agentIn(id, 'failed');
    const page = await orchestrator.api.monitor.page(id, 0, 5000);
    expect(page.gap).toBe(true);
    expect(page.lines.every((line) => line.text.length <= 8192 && !line.text.includes('\u001b'))).toBe(true);
    expect((await stat(join(settings.paths.logs, `${id}.jsonl`))).size).toBeLessThan(3 * 1024 * 1024);
  });

  it.each([
    ['repository-missing', { context: { repository: '', workItems: ['write'] } }],
    ['branch-missing', { context: { repository: '', branch: 'no-such-branch', workItems: ['write'] } }],
  ])('reports %s, and does not try again', async (code, { context }) => {
    const repository = code === 'repository-missing' ? join(instance.directory, 'none.git') : remote;
    const id = await spawn('write', { context: { ...context, repository }, options: { maxRetries: 3 } });
    expect((await agentIn(id, 'failed')).error?.code).toBe(code);
    expect(await textOf(id)).toContain('Start 1 failed');
    await isClean(id);
  });

  it(
    'tries again what fails before GO, and nothing after it',
    proves('ORC-108', async () => {
      const id = agentId(newId());
      const plan = await planOf(id);
      await instance.stopReaper();
      const waiting = instance.startReaperAfter(3000);
      await orchestrator.api.store.create(plan, 'digest', 100);
      await orchestrator.api.queue.add(plan);
      await agentIn(id, 'completed');
      await waiting;
      expect(await textOf(id)).toContain('Start 1 failed');
    }),
  );

  it('mends a crash between the record and the queue', async () => {
    const id = agentId(newId());
    await orchestrator.api.store.create(await planOf(id), 'digest', 100);
    expect(await orchestrator.api.store.unqueued()).toEqual([id]);
    await agentIn(id, 'completed');
    expect(await orchestrator.api.store.unqueued()).toEqual([]);
  });

  it('ends its agents when it stops, and says that they were lost', async () => {
    const id = await spawn('stubborn');
    await agentIn(id, 'running');
    await working(id);
    await end(orchestrator);
    orchestrator = await begin();
    expect((await agentIn(id, 'failed')).error?.code).toBe('orchestrator-lost');
    await isClean(id);
  });

  it('reports what its predecessor left when it died, after the reaper has observed it gone', async () => {
    const id = await spawn('stubborn');
    await agentIn(id, 'running');
    await working(id);
    // Closed without ceremony: the run is not told, as in a crash. Its agent still lives, which is the worst case.
    const crashed = orchestrator;
    await crashed.close();
    orchestrator = await begin();
    expect((await agentIn(id, 'failed')).error?.code).toBe('orchestrator-lost');
    await isClean(id);
  });

  async function planOf(id: AgentId): Promise<SpawnPlan> {
    const model = await spawn('write');
    await agentIn(model, 'completed');
    const plan = await orchestrator.api.store.findPlan(model);
    if (plan === undefined) throw new Error('no plan');
    return { ...plan, agentId: id, taskId: taskId(newId()), maxRetries: 3 };
  }
});
