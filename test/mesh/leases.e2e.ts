import { Mesh } from '@capstan/localmesh';
import { agentIn, spawnAgent, type SpawnOverrides } from '../support/agents.js';
import { type AgentPlace, livingIn, placeOf } from '../support/host-processes.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

const KILL_AFTER_MS = 10_000;
/** The reaper's next look and the kill, with room for a machine that is busy. */
const DEATH_MS = 2_000;
/** Renewals come every 5 s: one that was just due may have been lost with the link. */
const HEARTBEAT_MS = 5_000;

describe('an instance that cannot hear the hub', () => {
  const repository = new TestRepository();
  let mesh: Mesh;
  let wire: TcpProxy;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, policy: { concurrency: 2 } });
    wire = await TcpProxy.start(mesh.hub.port);
    await quay().spoke.stop();
    await quay().noteHubPort(wire.port);
    await quay().spoke.start();
  });
  afterAll(async () => {
    await wire[Symbol.asyncDispose]();
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const quay = () => mesh.instance('quay');

  async function running(onHubLost: SpawnOverrides['onHubLost']): Promise<{ agentId: string; place: AgentPlace }> {
    const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run', ...(onHubLost && { onHubLost }) });
    await agentIn(mesh, agentId, 'running');
    return { agentId, place: await until('it is registered', () => placeOf(quay(), agentId)) };
  }

  it(
    'has no agent left that lives by a lease when that is over, although spoke and orchestrator hang',
    proves('ORC-L1', async () => {
      const leased = await running({ killAfterMs: KILL_AFTER_MS });
      const kept = await running({ keep: true });
      const told = (await mesh.client.agent(leased.agentId)).leaseEndsAt;
      expect((await mesh.client.agent(kept.agentId)).leaseEndsAt).toBeNull();

      const cutAt = Date.now();
      wire.cut();
      quay().spoke.kill('SIGSTOP');
      quay().orchestrator.kill('SIGSTOP');
      await until('it is dead', () => livingIn(leased.place).length === 0);
      const diedAt = Date.now();
      expect(diedAt - cutAt).toBeLessThan(KILL_AFTER_MS + 3 * DEATH_MS);
      expect(diedAt - cutAt).toBeGreaterThan(KILL_AFTER_MS - HEARTBEAT_MS - DEATH_MS);
      expect(diedAt).toBeLessThan(Date.parse(told ?? ''));
      expect(livingIn(kept.place)).not.toEqual([]);

      quay().orchestrator.kill('SIGCONT');
      quay().spoke.kill('SIGCONT');
      wire.mend();
      const ended = await agentIn(mesh, leased.agentId, 'failed');
      expect(ended).toMatchObject({ error: { code: 'lease-expired' }, leaseEndsAt: null });
      expect((await mesh.client.agent(kept.agentId)).state).toBe('running');
      expect(await mesh.client.kill(kept.agentId)).toMatchObject({ outcome: 'killed', confirmed: true });
    }),
  );
});
