import { join } from 'node:path';
import { newId } from '@capstan/protocol';
import { agentIn } from '../../support/agents.js';
import { livingIn, pidIn } from '../../support/host-processes.js';
import { InstanceApi } from '../../support/instance-api.js';
import { proves } from '../../support/proves.js';
import { until } from '../../support/until.js';
import type { StartDriver } from '../execution/driver.js';
import { quayOn, type Running } from '../execution/quay-on.js';

const WAITING = 2_000;
/** Of requests at a time. */
const LANES = 16;
/** Far more than a kill takes, far less than those before it in the queue, who take hours. */
const PATIENCE_MS = 20_000;

/** Kills while a part of the instance stands still, and past a queue that is full: the same on every sandbox. */
export function describePressure(startDriver: StartDriver): void {
  describe('a kill', () => {
    const room = quayOn(startDriver, () => ({ policy: { concurrency: 2 } }));

    async function killed({ agentId, place }: Running): Promise<void> {
      const answer = await room.mesh.client.kill(agentId, { waitMs: PATIENCE_MS });
      const left = livingIn(place);
      const proven = { outcome: 'killed', confirmed: true, receipt: { verified: true } };
      expect({ answer, left }).toMatchObject({ answer: proven, left: [] });
    }

    it(
      'gets through while the orchestrator is stopped, which clears up when it goes on',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const victim = await room.running();
        const { orchestrator } = room.quay();
        orchestrator.kill('SIGSTOP');
        try {
          await killed(victim);
        } finally {
          orchestrator.kill('SIGCONT');
        }
        await agentIn(room.mesh, victim.agentId, 'killed');
        await room.leftNothing();
      }),
    );

    it(
      'gets through while the Valkey of the instance does not answer, and is written down when it does again',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const [one, other] = [await room.running(), await room.running()];
        const valkey = pidIn(join(room.quay().dir, 'valkey'));
        process.kill(valkey, 'SIGSTOP');
        try {
          await killed(one);
          const { status, body } = await new InstanceApi(room.quay()).call('POST', `/agents/${other.agentId}/kill`, {});
          expect(livingIn(other.place)).toEqual([]);
          expect(status).toBe(200);
          expect(body).toMatchObject({ outcome: 'killed', agent: null });
        } finally {
          process.kill(valkey, 'SIGCONT');
        }
        await agentIn(room.mesh, one.agentId, 'killed');
        await agentIn(room.mesh, other.agentId, 'killed');
        await room.leftNothing();
      }),
    );

    it(
      `does not wait behind ${String(WAITING)} agents that are queued, nor does a kill of all of them`,
      proves(['ORC-117', 'ORC-L2'], async () => {
        const victims = [await room.running(), await room.running()] as const;
        const api = new InstanceApi(room.quay());
        const last = (await queueUp(api, WAITING)).at(-1);
        expect((await api.call<{ pending: number }>('GET', '/queue/counts')).body.pending).toBe(WAITING);

        await killed(victims[0]);
        // One that waits, and whose turn is far away: it is forbidden to start.
        expect(await room.mesh.client.kill(last ?? '', { instance: 'quay' })).toMatchObject({
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
        await room.leftNothing();
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
            context: { repository: room.mesh.repository?.path, workItems: ['Wait.'] },
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
