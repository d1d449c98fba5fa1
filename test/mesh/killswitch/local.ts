import { join } from 'node:path';
import { newId } from '@capstan/protocol';
import { agentIn } from '../../support/agents.js';
import { capstanJson } from '../../support/cli.js';
import { livingIn, pidIn } from '../../support/host-processes.js';
import { clientOf } from '../../support/instance-client.js';
import { proves } from '../../support/proves.js';
import { until } from '../../support/until.js';
import type { StartDriver } from '../execution/driver.js';
import { quayOn } from '../execution/quay-on.js';

interface Told {
  confirmed: boolean;
  complete: boolean;
  observedDead: number;
  notes: string[];
  agents: { agentId: string; outcome: string }[];
}

/** The owner's own kill, without the hub and whatever else stands still: the same on every sandbox. */
export function describeLocal(startDriver: StartDriver): void {
  describe('capstan kill --local', () => {
    const room = quayOn(startDriver);

    const told = (...args: string[]) => capstanJson<Told>([...args, '--local', room.quay().dir]);

    async function capstan(...args: string[]): Promise<Told> {
      const { code, answer } = await told(...args);
      expect({ code, answer }).toMatchObject({ code: 0 });
      return answer;
    }

    /** One that exits with this code. */
    async function unsure(expected: number, ...args: string[]): Promise<Told> {
      const { code, answer } = await told(...args);
      expect({ code, answer }).toMatchObject({ code: expected });
      return answer;
    }

    /** Orchestrator, spoke and Valkey of the instance, and its hub, stand still meanwhile. */
    async function whileAllStandStill<T>(body: () => Promise<T>): Promise<T> {
      const valkey = pidIn(join(room.quay().dir, 'valkey'));
      const { orchestrator, spoke } = room.quay();
      const parts = [room.mesh.hub.process, orchestrator, spoke];
      try {
        for (const part of parts) part.kill('SIGSTOP');
        process.kill(valkey, 'SIGSTOP');
        return await body();
      } finally {
        for (const part of parts) part.kill('SIGCONT');
        process.kill(valkey, 'SIGCONT');
      }
    }

    it(
      'kills one agent, and those of a task, while orchestrator, spoke, Valkey and hub stand still',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const taskId = newId();
        const [one, mate, other] = [await room.running(), await room.running({ taskId }), await room.running()];
        await whileAllStandStill(async () => {
          expect(await capstan('kill', one.agentId)).toMatchObject({
            confirmed: true,
            agents: [{ agentId: one.agentId, outcome: 'killed' }],
          });
          expect(livingIn(one.place)).toEqual([]);
          // Of those that wait only the orchestrator knows.
          expect(await unsure(8, 'kill', '--task', taskId)).toMatchObject({
            confirmed: false,
            complete: false,
            observedDead: 1,
            notes: [expect.stringContaining('may start')],
            agents: [{ agentId: mate.agentId, outcome: 'killed' }],
          });
          expect(livingIn(mate.place)).toEqual([]);
          expect(livingIn(other.place)).not.toEqual([]);
        });
        await agentIn(room.mesh, one.agentId, 'killed');
        await agentIn(room.mesh, mate.agentId, 'killed');
        expect(await capstan('kill', other.agentId)).toMatchObject({ confirmed: true });
        await agentIn(room.mesh, other.agentId, 'killed');
        await room.leftNothing();
      }),
    );

    it(
      'withdraws the agents of a task that wait',
      proves('ORC-117', async () => {
        using stack = new DisposableStack();
        const client = stack.adopt(clientOf(room.quay()), (it) => it.close());
        await capstan('queue', 'pause');
        try {
          const taskId = newId();
          const context = { repository: room.mesh.repository?.path ?? '', workItems: ['Wait.'] };
          const options = { playbook: 'long-run' };
          const agentId = await client.spawn({ taskId, agentType: 'worker', context, options });
          // Valkey may be slow to tell who waits: then the answer says so, and the order is repeated.
          const killed = await until('those that wait are reached', async () => {
            const { code, answer } = await told('kill', '--task', taskId);
            if (code === 0) return answer;
            expect({ code, answer }).toMatchObject({ code: 8 });
            return undefined;
          });
          expect(killed).toMatchObject({
            confirmed: true,
            complete: true,
            observedDead: 0,
            agents: [{ agentId, outcome: 'tombstoned' }],
          });
          await until('it is killed', async () => (await client.status(agentId))?.state === 'killed');
        } finally {
          await capstan('queue', 'resume');
        }
      }),
    );

    it(
      'kills everything of a tenant, or of the instance, and nothing starts before it is re-armed',
      proves(['ORC-117', 'ORC-L2'], async () => {
        for (const scope of [['--tenant', 'default'], ['--all']]) {
          const [one, other] = [await room.running(), await room.running()];
          const killed = await whileAllStandStill(async () => {
            const answer = await capstan('kill', ...scope);
            expect([...livingIn(one.place), ...livingIn(other.place)]).toEqual([]);
            return answer;
          });
          expect(killed.agents.map(({ agentId, outcome }) => [agentId, outcome]).sort()).toEqual(
            [one, other].map(({ agentId }) => [agentId, 'killed']).sort(),
          );
          await agentIn(room.mesh, one.agentId, 'killed');
          await agentIn(room.mesh, other.agentId, 'killed');
          await room.leftNothing();
          using stack = new DisposableStack();
          const client = stack.adopt(clientOf(room.quay()), (it) => it.close());
          const context = { repository: room.mesh.repository?.path ?? '', workItems: ['Wait.'] };
          await expect(client.spawn({ taskId: newId(), agentType: 'worker', context })).rejects.toMatchObject({
            code: 'disarmed',
          });
          await capstan('agents', 'rearm', ...(scope.length === 2 ? scope : []));
        }
      }),
    );

    it('says of an agent that it has not seen that it can never start', async () => {
      const agentId = newId();
      expect(await unsure(7, 'kill', agentId)).toMatchObject({
        confirmed: false,
        observedDead: 0,
        agents: [{ agentId, outcome: 'tombstoned' }],
      });
      await unsure(3, 'kill', '--task', newId());
    });

    it('names what is wrong with its use', async () => {
      await unsure(2, 'kill', 'a', '--all');
      expect(await told('kill', 'No Id')).toMatchObject({ code: 1, answer: { error: { code: 'id-malformed' } } });
    });
  });
}
