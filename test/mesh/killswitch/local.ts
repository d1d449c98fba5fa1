import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Mesh } from '@capstan/localmesh';
import { newId } from '@capstan/protocol';
import { agentIn, spawnAgent, type SpawnOverrides } from '../../support/agents.js';
import { type AgentPlace, livingIn, placeOf, processesIn } from '../../support/host-processes.js';
import { clientOf } from '../../support/instance-client.js';
import { proves } from '../../support/proves.js';
import { TestRepository } from '../../support/repository.js';
import { until } from '../../support/until.js';
import type { StartDriver, TestDriver } from '../execution/driver.js';

const run = promisify(execFile);

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
    const repository = new TestRepository();
    let driver: TestDriver;
    let mesh: Mesh;

    beforeAll(async () => {
      driver = await startDriver();
      mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, ...driver.mesh });
    });
    afterAll(async () => {
      await mesh.stop();
      await driver[Symbol.asyncDispose]();
      repository[Symbol.dispose]();
    });

    const quay = () => mesh.instance('quay');

    async function capstan(...args: string[]): Promise<Told> {
      const program = join(process.cwd(), 'dist/apps/cli/src/main.js');
      const { stdout } = await run(process.execPath, [program, ...args, '--local', quay().dir, '--json']);
      return JSON.parse(stdout) as Told;
    }

    /** One that exits with this code. */
    async function unsure(code: number, ...args: string[]): Promise<Told> {
      const ended: unknown = await capstan(...args).catch((error: unknown) => error);
      expect(ended).toMatchObject({ code });
      return JSON.parse((ended as { stdout: string }).stdout) as Told;
    }

    async function running(over: SpawnOverrides = {}): Promise<{ agentId: string; place: AgentPlace }> {
      const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run', ...over });
      await agentIn(mesh, agentId, 'running');
      return { agentId, place: await until('it is registered', () => placeOf(quay(), agentId)) };
    }

    /** Orchestrator, spoke and Valkey of the instance, and its hub, stand still meanwhile. */
    async function whileAllStandStill<T>(body: () => Promise<T>): Promise<T> {
      const [valkey = 0] = processesIn(join(quay().dir, 'valkey'));
      mesh.hub.process.kill('SIGSTOP');
      quay().orchestrator.kill('SIGSTOP');
      quay().spoke.kill('SIGSTOP');
      process.kill(valkey, 'SIGSTOP');
      try {
        return await body();
      } finally {
        process.kill(valkey, 'SIGCONT');
        quay().spoke.kill('SIGCONT');
        quay().orchestrator.kill('SIGCONT');
        mesh.hub.process.kill('SIGCONT');
      }
    }

    it(
      'kills one agent, and those of a task, while orchestrator, spoke, Valkey and hub stand still',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const taskId = newId();
        const [one, mate, other] = [await running(), await running({ taskId }), await running()];
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
        await agentIn(mesh, one.agentId, 'killed');
        await agentIn(mesh, mate.agentId, 'killed');
        expect(await capstan('kill', other.agentId)).toMatchObject({ confirmed: true });
        await agentIn(mesh, other.agentId, 'killed');
        await driver.leftNothing();
      }),
    );

    it(
      'withdraws the agents of a task that wait',
      proves('ORC-117', async () => {
        await capstan('queue', 'pause');
        const client = clientOf(quay());
        const taskId = newId();
        const context = { repository: mesh.repository?.path ?? '', workItems: ['Wait.'] };
        const agentId = await client.spawn({ taskId, agentType: 'worker', context, options: { playbook: 'long-run' } });
        // Valkey may be slow to tell who waits: then the answer says so, and the order is repeated.
        const told = await until('those that wait are reached', () =>
          capstan('kill', '--task', taskId).catch((error: unknown) => {
            expect(error).toMatchObject({ code: 8 });
            return undefined;
          }),
        );
        expect(told).toMatchObject({
          confirmed: true,
          complete: true,
          observedDead: 0,
          agents: [{ agentId, outcome: 'tombstoned' }],
        });
        await until('it is killed', async () => (await client.status(agentId))?.state === 'killed');
        client.close();
        await capstan('queue', 'resume');
      }),
    );

    it(
      'kills everything of a tenant, or of the instance, and nothing starts before it is re-armed',
      proves(['ORC-117', 'ORC-L2'], async () => {
        for (const scope of [['--tenant', 'default'], ['--all']]) {
          const [one, other] = [await running(), await running()];
          const told = await whileAllStandStill(async () => {
            const answer = await capstan('kill', ...scope);
            expect([...livingIn(one.place), ...livingIn(other.place)]).toEqual([]);
            return answer;
          });
          expect(told.agents.map(({ agentId, outcome }) => [agentId, outcome]).sort()).toEqual(
            [one, other].map(({ agentId }) => [agentId, 'killed']).sort(),
          );
          await agentIn(mesh, one.agentId, 'killed');
          await agentIn(mesh, other.agentId, 'killed');
          await driver.leftNothing();
          const client = clientOf(quay());
          const context = { repository: mesh.repository?.path ?? '', workItems: ['Wait.'] };
          await expect(client.spawn({ taskId: newId(), agentType: 'worker', context })).rejects.toMatchObject({
            code: 'disarmed',
          });
          client.close();
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
      await expect(capstan('kill', '--task', newId())).rejects.toMatchObject({ code: 3 });
    });

    it('names what is wrong with its use', async () => {
      await expect(capstan('kill', 'a', '--all')).rejects.toMatchObject({ code: 2 });
      await expect(capstan('kill', 'No Id')).rejects.toMatchObject({ code: expect.any(Number) });
    });
  });
}
