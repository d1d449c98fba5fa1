import { agentIn } from '../../support/agents.js';
import { commandOf, livingIn, membersOf } from '../../support/host-processes.js';
import { proves } from '../../support/proves.js';
import { until } from '../../support/until.js';
import type { StartDriver } from '../execution/driver.js';
import { quayOn, type Running } from '../execution/quay-on.js';

const PATIENCE_MS = 120_000;
const KILL_WAIT_MS = 20_000;
/** What an agent may have; a bomb that is stopped by it has a fourth of them at least asleep. */
const PIDS = 256;

/** Playbooks, and how many processes of each sleep for hours once it is at it: its own, whatever its driver adds. */
const SLEEPERS = { 'long-run': 5, runaway: 4, 'fork-bomb': 32 } as const;
type Wild = keyof typeof SLEEPERS;

interface KillEvidence {
  outcome: string;
  observation: { signalledAtMs: number; observedAtMs: number; membersBefore: number };
}

/** An instance whose agents are let loose, and a look at what is left of them; for the calling describe. */
function wilderness(startDriver: StartDriver) {
  const room = quayOn(startDriver, () => ({ env: { CAPSTAN_AGENT_PIDS: String(PIDS) } }));
  const loose: Running[] = [];

  // However the test ended: beside a bomb none of the next ones comes far.
  afterEach(async () => {
    for (const { agentId, place } of loose.splice(0)) {
      if (livingIn(place).length > 0) await room.mesh.client.kill(agentId, { waitMs: KILL_WAIT_MS });
    }
    await room.leftNothing();
  }, 300_000);

  return {
    room,
    async unleash(playbook: Wild): Promise<Running> {
      const agent = await room.running({ playbook });
      loose.push(agent);
      const isAtIt = (): boolean => membersOf(agent.place).filter(isSleeper).length >= SLEEPERS[playbook];
      await until(`${playbook} is at it`, isAtIt, PATIENCE_MS);
      return agent;
    },
    /** Nothing lived at the moment in which the answer was here. */
    async killed({ agentId, place }: Running): Promise<KillEvidence> {
      const answer = await room.mesh.client.kill(agentId, { waitMs: KILL_WAIT_MS });
      const left = livingIn(place);
      const proven = { outcome: 'killed', confirmed: true, receipt: { kind: 'killed', verified: true } };
      expect({ answer, left }).toMatchObject({ answer: proven, left: [] });
      return answer.receipt?.result as KillEvidence;
    },
  };
}

/** By its time: names are lied about. */
function isSleeper(pid: number): boolean {
  return commandOf(pid).some((word) => word === '3600' || word === '7200');
}

/** Agents that do all to outlive their kill. */
export function describeHostile(startDriver: StartDriver): void {
  describe('an agent that does not want to die', () => {
    const { room, unleash, killed } = wilderness(startDriver);

    it.each([
      ['ignores every signal that can be refused and has left its session twice', 'long-run'],
      ['hides, stops itself and starts itself anew', 'runaway'],
      ['doubles its processes as fast as it can', 'fork-bomb'],
    ] as const)('and %s: the receipt comes after its last process', (_, playbook) =>
      proves(['ORC-117', 'ORC-L2'], async () => {
        const agent = await unleash(playbook);
        const { observation } = await killed(agent);
        expect(observation.membersBefore).toBeGreaterThanOrEqual(SLEEPERS[playbook]);
        expect(observation.observedAtMs).toBeGreaterThanOrEqual(observation.signalledAtMs);
        expect((await agentIn(room.mesh, agent.agentId, 'killed')).error).toBeNull();
        await room.leftNothing();
      })(),
    );
  });
}

/** What makes their kill harder still. */
export function describeHostileInTrouble(startDriver: StartDriver): void {
  describe('agents that do not want to die', () => {
    const { room, unleash, killed } = wilderness(startDriver);

    it(
      'and three of them at the same time: each receipt comes after the last process of its own agent',
      proves(['ORC-117', 'ORC-L2'], async () => {
        // The bomb is the last: beside it nobody else comes far.
        const all = [await unleash('runaway'), await unleash('long-run'), await unleash('fork-bomb')];
        const ends = await Promise.allSettled(all.map(killed));
        expect(ends.filter(({ status }) => status === 'rejected')).toEqual([]);
        await room.leftNothing();
      }),
    );

    it(
      'and whose orchestrator is killed between two of its breaths: nothing of it outlives the order',
      proves(['ORC-117', 'ORC-L2'], async () => {
        const { agentId, place } = await unleash('runaway');
        room.quay().orchestrator.kill('SIGKILL');
        const answer = await room.mesh.client.kill(agentId, { waitMs: KILL_WAIT_MS });
        const left = livingIn(place);
        expect({ answer, left }).toMatchObject({ answer: { confirmed: true, receipt: { verified: true } }, left: [] });
        expect(['killed', 'already-gone']).toContain(answer.outcome);
        await agentIn(room.mesh, agentId, 'killed', 'failed');
        await room.leftNothing();
      }),
    );
  });
}
