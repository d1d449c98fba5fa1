import { Mesh } from '@capstan/localmesh';
import { agentIn, spawnAgent } from '../../support/agents.js';
import { type AgentPlace, livingIn, placeOf } from '../../support/host-processes.js';
import { proves } from '../../support/proves.js';
import { TestRepository } from '../../support/repository.js';
import { until } from '../../support/until.js';
import type { StartDriver, TestDriver } from '../execution/driver.js';

interface KillEvidence {
  outcome: string;
  observation: { signalledAtMs: number; observedAtMs: number; membersBefore: number };
}

/** An instance whose agents are let loose, and a look at what is left of them; for the calling describe. */
function wilderness(startDriver: StartDriver) {
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

  return {
    mesh: () => mesh,
    leftNothing: () => driver.leftNothing(),
    /** Runs until it has at least so many processes. */
    async unleash(playbook: string, processes: number): Promise<{ agentId: string; place: AgentPlace }> {
      const { agentId } = await spawnAgent(mesh, 'quay', { playbook });
      await agentIn(mesh, agentId, 'running');
      const place = await until('it is registered', () => placeOf(mesh.instance('quay'), agentId));
      await until(`it has ${String(processes)} processes`, () => livingIn(place).length >= processes, 60_000);
      return { agentId, place };
    },
    /** @returns what lived at the moment in which the answer was here. */
    async killedWith(agentId: string, place: AgentPlace): Promise<KillEvidence> {
      const answer = await mesh.client.kill(agentId, { waitMs: 20_000 });
      expect(livingIn(place)).toEqual([]);
      expect(answer).toMatchObject({ outcome: 'killed', confirmed: true, receipt: { kind: 'killed', verified: true } });
      return answer.receipt?.result as KillEvidence;
    },
  };
}

/** Agents that do all to outlive their kill. */
export function describeHostile(startDriver: StartDriver): void {
  describe('an agent that does not want to die', () => {
    const { mesh, leftNothing, unleash, killedWith } = wilderness(startDriver);

    it.each([
      ['ignores every signal that can be refused and has left its session twice', 'long-run', 9],
      ['hides, stops itself and starts itself anew', 'runaway', 9],
      ['doubles its processes as fast as it can', 'fork-bomb', 200],
    ])('and %s: the receipt comes after its last process', (_, playbook, processes) =>
      proves(['ORC-117', 'ORC-L2'], async () => {
        const { agentId, place } = await unleash(playbook, processes);
        const { observation } = await killedWith(agentId, place);
        expect(observation.membersBefore).toBeGreaterThanOrEqual(processes / 2);
        expect(observation.observedAtMs).toBeGreaterThanOrEqual(observation.signalledAtMs);
        expect((await agentIn(mesh(), agentId, 'killed')).error).toBeNull();
        await leftNothing();
      })(),
    );
  });
}

/** What makes their kill harder still. */
export function describeHostileInTrouble(startDriver: StartDriver): void {
  describe('agents that do not want to die', () => {
    const { mesh, unleash, killedWith } = wilderness(startDriver);

    it(
      'and three of them at the same time: each receipt comes after the last process of its own agent',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const quieter = await Promise.all([unleash('runaway', 9), unleash('long-run', 9)]);
        // Last: beside it nobody else comes far.
        const all = [...quieter, await unleash('fork-bomb', 200)];
        await Promise.all(all.map(({ agentId, place }) => killedWith(agentId, place)));
      }),
    );

    it(
      'and whose orchestrator is killed between two of its breaths: nothing of it outlives the order',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const { agentId, place } = await unleash('runaway', 9);
        mesh().instance('quay').orchestrator.kill('SIGKILL');
        const answer = await mesh().client.kill(agentId, { waitMs: 20_000 });
        expect(livingIn(place)).toEqual([]);
        expect(['killed', 'already-gone']).toContain(answer.outcome);
        expect(answer).toMatchObject({ confirmed: true, receipt: { verified: true } });
        await agentIn(mesh(), agentId, 'killed', 'failed');
      }),
    );
  });
}
