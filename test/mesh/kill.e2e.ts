import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { hasProcess } from '@capstan/sandbox';
import { agentIn, receiptOf, spawnAgent } from '../support/agents.js';
import { processesOf } from '../support/host-processes.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

interface KillEvidence {
  outcome: string;
  observation: {
    pidNamespace: number | string;
    processes: { pid: number }[];
    observedAtMs: number;
    orderedAtMs: number;
  };
}

/** Paths below `directory` whose last part matches. */
function found(directory: string, name: RegExp): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((path) => name.test(basename(path)));
}

describe('a kill', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const running = async (): Promise<string> => {
    const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
    await agentIn(mesh, agentId, 'running');
    return agentId;
  };

  it(
    'is confirmed by what the reaper observed gone, and leaves no process, worktree or cgroup',
    proves(['ORC-117', 'ORC-118', 'ORC-L2'], async () => {
      const agentId = await running();
      const inside = await until('its command runs', async () => {
        const processes = await processesOf(mesh.instance('quay'), agentId);
        return processes.length >= 3 ? processes : undefined;
      });
      const answer = await mesh.client.kill(agentId, { reason: 'test' });
      expect(answer).toMatchObject({ outcome: 'killed', confirmed: true, receipt: { kind: 'killed', verified: true } });
      expect(inside.filter(hasProcess)).toEqual([]);
      const { observation } = answer.receipt?.result as KillEvidence;
      expect(observation.processes).toHaveLength(2);
      expect(observation.observedAtMs).toBeGreaterThanOrEqual(observation.orderedAtMs);
      await agentIn(mesh, agentId, 'killed');
      await until(
        'its directory is gone',
        () =>
          found(mesh.instance('quay').dir, /^agents$/).length > 0 &&
          found(join(mesh.instance('quay').dir, 'agents'), new RegExp(agentId)).length === 0,
      );
    }),
  );

  it(
    'of an agent that nobody has seen leaves a tombstone that forbids its start',
    proves('ORC-117', async () => {
      const agentId = 'never-seen-before';
      expect(await mesh.client.kill(agentId, { instance: 'quay' })).toMatchObject({
        outcome: 'tombstoned',
        confirmed: true,
      });
      await spawnAgent(mesh, 'quay', { agentId, playbook: 'long-run' });
      expect((await agentIn(mesh, agentId, 'killed', 'failed', 'running')).state).toBe('killed');
    }),
  );

  it('told twice has one effect and two verified answers', async () => {
    const agentId = await running();
    const [first, second] = [await mesh.client.kill(agentId), await mesh.client.kill(agentId)];
    expect(first.outcome).toBe('killed');
    expect(['killed', 'already-gone']).toContain(second.outcome);
    expect(second.confirmed).toBe(true);
  });

  it(
    'of an agent that has already ended says so',
    proves('ORC-117', async () => {
      const { agentId } = await spawnAgent(mesh, 'quay');
      await receiptOf(mesh, agentId, 'finished');
      expect(await mesh.client.kill(agentId)).toMatchObject({ outcome: 'already-gone', confirmed: true });
      expect((await mesh.client.agent(agentId)).state).toBe('completed');
    }),
  );

  it(
    'saves unfinished work to a salvage ref',
    proves('ORC-111', async () => {
      const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
      await agentIn(mesh, agentId, 'running');
      await until('the agent has written something', async () => {
        const { lines } = await mesh.client.logs(agentId);
        return lines.some((line) => line.source === 'tool') || undefined;
      });
      await mesh.client.kill(agentId);
      await agentIn(mesh, agentId, 'killed');
      const { dir } = mesh.instance('quay');
      await until('the salvage ref is there', () => {
        const [bare] = found(join(dir, 'repositories'), /\.salvage$/);
        if (bare === undefined) return false;
        return git(join(dir, 'repositories', bare), 'for-each-ref', 'refs/capstan/salvage').includes(agentId);
      });
    }),
  );
});
