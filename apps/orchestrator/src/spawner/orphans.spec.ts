import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { closeValkey, connectValkey, ReaperClient } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { isGone } from '@capstan/sandbox';
import { git } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestExecution } from '../../test/test-execution.js';

jest.setTimeout(120_000);

const AGENT = join(__dirname, '..', '..', 'test', 'test-agent.mjs');

describe('a former life of the orchestrator', () => {
  let execution: TestExecution;
  beforeAll(async () => (execution = await TestExecution.start(AGENT)));
  afterAll(() => execution[Symbol.asyncDispose]());

  const isClean = (): Promise<unknown> =>
    until('it is clean', async () => {
      const left = [...(await execution.store.untidy()), ...(await readdir(execution.settings.paths.agents))];
      return left.length === 0 || undefined;
    });

  const working = (id: AgentId): Promise<unknown> =>
    until('it works', async () => (await execution.textOf(id)).includes('working') || undefined);

  async function cleanedEvent(id: AgentId): Promise<void> {
    const stop = new AbortController();
    for await (const event of execution.orchestrator.api.events.read('0', stop.signal)) {
      if (event.kind === 'cleaned' && event.json.includes(id)) stop.abort();
    }
  }

  it(
    'finds and ends what its predecessor left although Valkey has forgotten everything, and saves the work',
    proves(['ORC-118', 'ORC-111'], async () => {
      const id = await execution.spawn('stubborn');
      await execution.agentIn(id, 'running');
      await working(id);
      const { agents } = await reaperSays();
      const handle = agents.find(({ agentId: it }) => it === id)?.handle;
      if (handle === undefined) throw new Error('not registered');
      const { driver, processes, bootId, pidNamespace, cgroup } = handle;
      if (driver !== 'bubblewrap') throw new Error('another driver');
      expect(isGone({ driver, bootId, pidNamespace, cgroup, processes })).toBe(false);
      const [bare = ''] = (await readdir(execution.settings.paths.repositories)).filter((name) =>
        name.endsWith('.git'),
      );
      const repository = join(execution.settings.paths.repositories, bare);
      await execution.restart(false, async () => {
        const valkey = await connectValkey(execution.instance.valkey.url);
        await valkey.flushall();
        await closeValkey(valkey);
        await mkdir(join(execution.settings.paths.agents, 'torn'));
        await mkdir(join(repository, 'worktrees', 'nobody'));
      });
      expect(isGone({ driver, bootId, pidNamespace, cgroup, processes })).toBe(true);
      const kept = repository.replace(/git$/, 'salvage');
      expect(git(kept, 'show', `refs/capstan/salvage/${id}:half.md`)).toBe('half of it');
      expect(await readdir(join(repository, 'worktrees')).catch(() => [])).toEqual([]);
      await isClean();
      await cleanedEvent(id);
    }),
  );

  // Once it exited instead, again and again, and bubblewrap's agents were not served either.
  it('starts though Docker is not there, ends what bubblewrap has left, says so, and serves agents of bubblewrap', async () => {
    const left = await execution.spawn('stubborn');
    await execution.agentIn(left, 'running');
    await working(left);
    const docker = { socketPath: join(execution.instance.directory, 'no-docker.sock') };
    await execution.restart(false, undefined, { docker });
    expect(execution.orchestrator.api.hasOrphans()).toBe(true);
    expect((await execution.agentIn(left, 'failed')).error?.code).toBe('orchestrator-lost');
    const next = await execution.spawn('stubborn');
    await execution.agentIn(next, 'running');
    await execution.orchestrator.api.killswitch.kill(next, '');
    await execution.agentIn(next, 'killed');
    await execution.restart(true);
    expect(execution.orchestrator.api.hasOrphans()).toBe(false);
    await isClean();
  });

  async function reaperSays(): Promise<Awaited<ReturnType<ReaperClient['describe']>>> {
    const reaper = new ReaperClient(execution.settings.paths.reaperSocket);
    try {
      return await reaper.describe();
    } finally {
      reaper.close();
    }
  }
});
