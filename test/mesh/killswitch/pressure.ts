import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { newId } from '@capstan/protocol';
import { agentIn, spawnAgent } from '../../support/agents.js';
import { type AgentPlace, livingIn, placeOf, processesIn } from '../../support/host-processes.js';
import { InstanceApi } from '../../support/instance-api.js';
import { proves } from '../../support/proves.js';
import { TestRepository } from '../../support/repository.js';
import { until } from '../../support/until.js';
import type { StartDriver, TestDriver } from '../execution/driver.js';

const WAITING = 2_000;
/** Of requests at a time. */
const LANES = 16;
/** Far more than a kill takes, far less than anybody should have to wait for one. */
const PATIENCE_MS = 5_000;

/** Kills while a part of the instance stands still, and past a queue that is full: the same on every sandbox. */
export function describePressure(startDriver: StartDriver): void {
  describe('a kill', () => {
    const repository = new TestRepository();
    let driver: TestDriver;
    let mesh: Mesh;

    beforeAll(async () => {
      driver = await startDriver();
      const policy = { concurrency: 2 };
      mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, policy, ...driver.mesh });
    });
    afterAll(async () => {
      await mesh.stop();
      await driver[Symbol.asyncDispose]();
      repository[Symbol.dispose]();
    });

    const quay = () => mesh.instance('quay');

    async function running(): Promise<{ agentId: string; place: AgentPlace }> {
      const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
      await agentIn(mesh, agentId, 'running');
      return { agentId, place: await until('it is registered', () => placeOf(quay(), agentId)) };
    }

    async function killedInTime({ agentId, place }: { agentId: string; place: AgentPlace }): Promise<void> {
      const orderedAt = performance.now();
      const answer = await mesh.client.kill(agentId);
      expect(performance.now() - orderedAt).toBeLessThan(PATIENCE_MS);
      expect(livingIn(place)).toEqual([]);
      expect(answer).toMatchObject({ outcome: 'killed', confirmed: true, receipt: { verified: true } });
    }

    it(
      'gets through while the orchestrator is stopped, which clears up when it goes on',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const victim = await running();
        const { orchestrator } = quay();
        orchestrator.kill('SIGSTOP');
        try {
          await killedInTime(victim);
        } finally {
          orchestrator.kill('SIGCONT');
        }
        await agentIn(mesh, victim.agentId, 'killed');
        await driver.leftNothing();
      }),
    );

    it(
      'gets through while the Valkey of the instance does not answer, and is written down when it does again',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const [one, other] = [await running(), await running()];
        const [valkey = 0] = processesIn(join(quay().dir, 'valkey'));
        process.kill(valkey, 'SIGSTOP');
        try {
          await killedInTime(one);
          const { status, body } = await new InstanceApi(quay()).call('POST', `/agents/${other.agentId}/kill`, {});
          expect(livingIn(other.place)).toEqual([]);
          expect(status).toBe(200);
          expect(body).toMatchObject({ outcome: 'killed', agent: null });
        } finally {
          process.kill(valkey, 'SIGCONT');
        }
        await agentIn(mesh, one.agentId, 'killed');
        await agentIn(mesh, other.agentId, 'killed');
        await driver.leftNothing();
      }),
    );

    it(
      `does not wait behind ${String(WAITING)} agents that are queued, nor does a kill of all of them`,
      proves(['ORC-117', 'ORC-L2'], async () => {
        const victims = [await running(), await running()] as const;
        const api = new InstanceApi(quay());
        const last = (await queueUp(api, WAITING)).at(-1);
        expect((await api.call<{ pending: number }>('GET', '/queue/counts')).body.pending).toBe(WAITING);

        await killedInTime(victims[0]);
        // One that waits, and whose turn is far away: it is forbidden to start.
        expect(await mesh.client.kill(last ?? '', { instance: 'quay' })).toMatchObject({
          outcome: 'tombstoned',
          confirmed: true,
        });

        const orderedAt = performance.now();
        const all = await api.call<{ epoch: string; agents: { agentId: string; outcome: string }[] }>(
          'POST',
          '/agents/kill-all',
          {},
        );
        expect(performance.now() - orderedAt).toBeLessThan(PATIENCE_MS);
        expect(livingIn(victims[1].place)).toEqual([]);
        expect(all).toMatchObject({ status: 200, body: { epoch: '1' } });
        expect(all.body.agents).toContainEqual(
          expect.objectContaining({ agentId: victims[1].agentId, outcome: 'killed' }),
        );
        await until(
          'nobody waits any more',
          async () => {
            const { pending, active } = (await api.call<Record<'pending' | 'active', number>>('GET', '/queue/counts'))
              .body;
            return pending + active === 0;
          },
          120_000,
        );
        const { body: agents } = await api.call<{ state: string }[]>('GET', '/agents');
        expect(new Set(agents.map(({ state }) => state))).toEqual(new Set(['killed']));
        await driver.leftNothing();
      }),
    );

    /** The owner's own orders. @returns the ids of the agents */
    async function queueUp(api: InstanceApi, count: number): Promise<string[]> {
      const ids: string[] = [];
      const lane = async (): Promise<void> => {
        while (ids.length < count) {
          const agentId = newId();
          ids.push(agentId);
          const { status } = await api.call('POST', '/agents/spawn', {
            agentId,
            taskId: newId(),
            agentType: 'worker',
            context: { repository: mesh.repository?.path, workItems: ['Wait.'] },
            options: { playbook: 'long-run', priority: 1 },
          });
          expect(status).toBe(202);
        }
      };
      await Promise.all(Array.from({ length: LANES }, lane));
      return ids;
    }
  });
}
