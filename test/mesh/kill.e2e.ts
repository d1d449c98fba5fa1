import { readdirSync, readlinkSync } from 'node:fs';
import { Mesh } from '@capstan/localmesh';
import { agentIn, receiptOf, spawnAgent } from '../support/agents.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(90_000);

interface KillEvidence {
  outcome: string;
  observation: {
    pidNamespace: number | string;
    processes: { pid: number }[];
    observedAtMs: number;
    orderedAtMs: number;
  };
}

/** Pids of all processes on this host that live in a PID namespace. */
function membersOf(inode: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readlinkSync(`/proc/${pid}/ns/pid`) === `pid:[${inode}]`;
    } catch {
      return false;
    }
  });
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
      const answer = await mesh.client.kill(agentId, { reason: 'test' });
      expect(answer).toMatchObject({ outcome: 'killed', confirmed: true, receipt: { kind: 'killed', verified: true } });
      const evidence = answer.receipt?.result as KillEvidence;
      expect(evidence.observation.processes.length).toBeGreaterThanOrEqual(2);
      expect(membersOf(String(evidence.observation.pidNamespace))).toEqual([]);
      await agentIn(mesh, agentId, 'killed');
      const bare = mesh.instance('quay').dir;
      await until('the worktree is gone', () =>
        readdirSync(`${bare}/worktrees`).some((name) => name.includes(agentId)) ? undefined : true,
      );
    }),
  );

  it(
    'gets through while the orchestrator is stopped',
    proves('ORC-L2', async () => {
      const agentId = await running();
      const { orchestrator } = mesh.instance('quay');
      orchestrator.kill('SIGSTOP');
      try {
        expect(await mesh.client.kill(agentId)).toMatchObject({ outcome: 'killed', confirmed: true });
      } finally {
        orchestrator.kill('SIGCONT');
      }
      await agentIn(mesh, agentId, 'killed');
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
      const [tenant] = readdirSync(`${dir}/git`);
      const [bare] = readdirSync(`${dir}/git/${tenant ?? ''}`);
      await until('the salvage ref is there', () =>
        git(`${dir}/git/${tenant ?? ''}/${bare ?? ''}`, 'for-each-ref', 'refs/capstan/salvage').includes(agentId)
          ? true
          : undefined,
      );
    }),
  );
});
