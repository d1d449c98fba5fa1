import { existsSync, readFileSync } from 'node:fs';
import { Mesh } from '@capstan/localmesh';
import { hasProcess, type ProcessIdentity } from '@capstan/sandbox';
import { agentIn, completed, receiptOf, spawnAgent } from '../support/agents.js';
import { placeOf, processesOf } from '../support/host-processes.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { isSalvaged } from '../support/salvage.js';
import { TestDocker } from '../support/test-docker.js';
import { until } from '../support/until.js';

jest.setTimeout(600_000);

function isSleeping(pid: number): boolean {
  return existsSync(`/proc/${String(pid)}`) && readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').startsWith('sleep');
}

describe('an instance whose agents run in Docker', () => {
  const repository = new TestRepository();
  let docker: TestDocker;
  let mesh: Mesh;

  beforeAll(async () => {
    docker = await TestDocker.start();
    const sandbox = { driver: 'docker', socketPath: docker.socketPath } as const;
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, sandbox });
  });
  afterAll(async () => {
    docker.thaw();
    await mesh.stop();
    await docker[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
  });

  const running = async (): Promise<string> => {
    const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
    await agentIn(mesh, agentId, 'running');
    return agentId;
  };
  const says = async (agentId: string, words: RegExp): Promise<boolean> =>
    (await mesh.client.logs(agentId)).lines.some(({ text }) => words.test(text));
  const noContainer = (): Promise<unknown> =>
    until('its container is removed', async () => (await docker.containers()).length === 0, 60_000);

  it(
    'takes an agent from order to commit, its harvest in a container too',
    proves(['ORC-106', 'ORC-118'], async () => {
      const { agentId } = await spawnAgent(mesh, 'quay');
      const place = await until('it is registered', () => placeOf(mesh.instance('quay'), agentId));
      expect(place.processes).toHaveLength(1);
      const agent = await completed(mesh, agentId);
      expect(agent.harvest).toMatchObject({ pushed: true, files: ['docs/REPOSITORY-MAP.md'] });
      const remote = mesh.repository?.path ?? '';
      expect(git(remote, 'rev-parse', `refs/heads/${agent.harvest?.branch ?? ''}`)).toBe(agent.harvest?.commit);
      expect(await receiptOf(mesh, agentId, 'finished')).toMatchObject({ verified: true });
      await noContainer();
    }),
  );

  it(
    'proves a kill, and removes the container',
    proves(['ORC-106', 'ORC-117', 'ORC-118'], async () => {
      const agentId = await running();
      const inside = await until('its command runs', async () => {
        const processes = await processesOf(mesh.instance('quay'), agentId);
        return processes.length >= 3 ? processes : undefined;
      });
      const answer = await mesh.client.kill(agentId, { reason: 'test' });
      expect(answer).toMatchObject({ outcome: 'killed', confirmed: true, receipt: { kind: 'killed', verified: true } });
      expect(inside.filter(hasProcess)).toEqual([]);
      await agentIn(mesh, agentId, 'killed');
      await noContainer();
    }),
  );

  it(
    'proves a kill while Docker hangs, keeps the work until it can be saved, and removes the container when it is back',
    proves(['ORC-106', 'ORC-117', 'ORC-111'], async () => {
      const agentId = await running();
      await until('it has begun its work', () => says(agentId, /./));
      const inside = await until('its command runs', async () => {
        const processes = await processesOf(mesh.instance('quay'), agentId);
        return processes.length >= 3 ? processes : undefined;
      });
      docker.freeze();
      try {
        const answer = await mesh.client.kill(agentId, { reason: 'Docker hangs' });
        expect(answer).toMatchObject({ outcome: 'killed', confirmed: true, receipt: { verified: true } });
        expect(inside.filter(hasProcess)).toEqual([]);
        await agentIn(mesh, agentId, 'killed');
        await until('it says that the work is not saved', () => says(agentId, /could not be saved yet/), 120_000);
      } finally {
        docker.thaw();
      }
      await until('the work is saved', () => isSalvaged(mesh.instance('quay'), agentId), 120_000);
      await noContainer();
    }),
  );

  it(
    'fails a start while Docker hangs, tries again as the spawn allows, and leaves no container',
    proves(['ORC-106', 'ORC-108', 'ORC-118'], async () => {
      const { agentId: first } = await spawnAgent(mesh, 'quay');
      // The first of all waits until it is made.
      await until('there is an image', async () => ((await docker.get('/images/json')) as []).length > 0, 120_000);
      await completed(mesh, first);
      await noContainer();
      docker.freeze();
      let [once, again] = ['', ''];
      try {
        ({ agentId: once } = await spawnAgent(mesh, 'quay'));
        ({ agentId: again } = await spawnAgent(mesh, 'quay', { options: { maxRetries: 3 } }));
        const hasFailed = (agentId: string) => says(agentId, /Start 1 failed/).catch(() => false);
        await until('the one says that it has failed', () => hasFailed(once), 120_000);
        expect((await agentIn(mesh, once, 'failed')).error).toMatchObject({ code: 'sandbox-failed' });
        await until('the other is to be tried again', () => hasFailed(again), 120_000);
      } finally {
        docker.thaw();
      }
      const hasEnded = async () => ['completed', 'failed'].includes((await mesh.client.agent(again)).state);
      await until('the other has ended', hasEnded, 120_000);
      expect((await completed(mesh, again)).harvest).toMatchObject({ pushed: true, files: ['docs/REPOSITORY-MAP.md'] });
      await noContainer();
    }),
  );

  /** One whose orchestrator was killed while its command ran, and that goes on under the next one. */
  const adopted = async (): Promise<{ agentId: string; inside: ProcessIdentity[] }> => {
    const agentId = await running();
    const inside = await until('its command runs', async () => {
      const processes = await processesOf(mesh.instance('quay'), agentId);
      return processes.filter(({ pid }) => isSleeping(pid)).length >= 3 ? processes : undefined;
    });
    mesh.instance('quay').orchestrator.kill('SIGKILL');
    // Nobody can be asked while the orchestrator is away.
    await until('it goes on', () => says(agentId, /restarted; the agent goes on/).catch(() => false), 60_000);
    expect(inside.filter(hasProcess)).toEqual(inside);
    return { agentId, inside };
  };

  it(
    'takes over an agent whose orchestrator was killed: its model, what it says, its submission, its end',
    proves(['ORC-106', 'ORC-109'], async () => {
      const { agentId, inside } = await adopted();
      for (const { pid } of inside.filter((it) => isSleeping(it.pid))) process.kill(pid, 'SIGKILL');
      const agent = await completed(mesh, agentId);
      expect(agent.harvest).toMatchObject({ pushed: true, files: ['WATCH.md'] });
      expect(agent.usage.requests).toBeGreaterThanOrEqual(3);
      expect(await receiptOf(mesh, agentId, 'finished')).toMatchObject({ verified: true });
      await noContainer();
    }),
  );

  it(
    'proves the kill of an agent that was taken over, and saves its work',
    proves(['ORC-106', 'ORC-117'], async () => {
      const { agentId, inside } = await adopted();
      const answer = await mesh.client.kill(agentId, { reason: 'test' });
      expect(answer).toMatchObject({ outcome: 'killed', confirmed: true, receipt: { verified: true } });
      expect(inside.filter(hasProcess)).toEqual([]);
      await agentIn(mesh, agentId, 'killed');
      await until('the work is saved', () => isSalvaged(mesh.instance('quay'), agentId));
      await noContainer();
    }),
  );
});
