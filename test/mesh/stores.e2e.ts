import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { newId } from '@capstan/protocol';
import { agentIn, completed, spawnAgent } from '../support/agents.js';
import { childrenOf, livingIn, parentOf, pidIn, placeOf, processesIn } from '../support/host-processes.js';
import { InstanceApi } from '../support/instance-api.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

/** A kill that needs no store. */
const KILL_MS = 5_000;
const LANES = 4;

describe('a store that dies under load', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, policy: { concurrency: 4 } });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const quay = () => mesh.instance('quay');

  async function killedInTime(agentId: string): Promise<void> {
    const place = await until('it is registered', () => placeOf(quay(), agentId));
    const orderedAt = performance.now();
    const answer = await mesh.client.kill(agentId);
    expect(performance.now() - orderedAt).toBeLessThan(KILL_MS);
    expect(livingIn(place)).toEqual([]);
    expect(answer).toMatchObject({ confirmed: true, receipt: { verified: true } });
  }

  /** Orders agents in some lanes until it is told to stop. @returns the ids that were acknowledged */
  function load(): { stop: () => Promise<string[]> } {
    const acknowledged: string[] = [];
    let isOver = false;
    const lane = async (): Promise<void> => {
      while (!isOver && acknowledged.length < 12) {
        const agentId = newId();
        // Whatever was not acknowledged was promised to nobody.
        await spawnAgent(mesh, 'quay', { agentId, playbook: 'no-change' }).then(
          () => acknowledged.push(agentId),
          () => undefined,
        );
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const lanes = Promise.all(Array.from({ length: LANES }, lane));
    const stop = async (): Promise<string[]> => {
      isOver = true;
      await lanes;
      return acknowledged;
    };
    return { stop };
  }

  const ended = async (agents: readonly string[]): Promise<void> => {
    for (const agentId of agents) await agentIn(mesh, agentId, 'completed', 'failed', 'killed');
  };

  it(
    'is PostgreSQL: the hub says so, still kills, and has lost nothing that it acknowledged',
    proves(['FED-08', 'FED-05'], async () => {
      const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
      await agentIn(mesh, agentId, 'running');
      const pressure = load();
      await until('commands flow', async () => (await mesh.client.agents()).length > 2);

      const postmaster = processesIn(join(mesh.stateDir, 'postgres', 'data')).find(isPostmaster);
      if (postmaster === undefined) throw new Error('PostgreSQL does not run');
      const stopped = [postmaster, ...childrenOf(postmaster)];
      for (const pid of stopped) process.kill(pid, 'SIGSTOP');
      try {
        await until('the hub says that it is not ready', async () => !(await mesh.client.isReady()));
        await killedInTime(agentId);
      } finally {
        process.kill(postmaster, 'SIGKILL');
        for (const pid of stopped.slice(1)) process.kill(pid, 'SIGCONT');
      }
      await until('it is ready again', () => mesh.client.isReady());
      await ended(await pressure.stop());
      await agentIn(mesh, agentId, 'killed');
      await completed(mesh, (await spawnAgent(mesh, 'quay')).agentId);
    }),
  );

  it(
    "is an instance's Valkey: the instance says so, still kills, and has lost nothing that it acknowledged",
    proves(['FED-08', 'FED-05', 'ORC-117'], async () => {
      const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
      await agentIn(mesh, agentId, 'running');
      const pressure = load();
      await until('commands flow', async () => (await mesh.client.agents()).length > 2);

      const valkey = pidIn(join(quay().dir, 'valkey'));
      const api = new InstanceApi(quay());
      const isReady = async () => (await api.call('GET', '/health/ready', undefined, '')).status === 200;
      expect(await isReady()).toBe(true);
      process.kill(valkey, 'SIGSTOP');
      try {
        await until('the instance says that it is not ready', async () => !(await isReady()));
        await killedInTime(agentId);
      } finally {
        process.kill(valkey, 'SIGKILL');
      }
      await until('it is ready again', isReady);
      await ended(await pressure.stop());
      await agentIn(mesh, agentId, 'killed');
      await completed(mesh, (await spawnAgent(mesh, 'quay')).agentId);
    }),
  );
});

function isPostmaster(pid: number): boolean {
  return parentOf(pid) === process.pid;
}
