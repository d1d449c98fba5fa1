import { join } from 'node:path';
import { verifyLog } from '@capstan/evidence';
import { keyRecord, KeyRing, verifyEnvelope } from '@capstan/identity';
import {
  agentId,
  decodeEnvelope,
  fromBase64,
  fromBinary,
  newId,
  ObservationSchema,
  tenantId,
  type AgentView,
} from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { planFor } from '../../test/plans.js';
import { TestApi } from '../../test/test-api.js';
import { INSTANCE } from '../../test/test-instance.js';
import { AgentRuns, type AgentRun } from '../spawner/agent-run.js';
import { Sessions } from '../spawner/session.js';
import type { SpawnPlan } from '../spawner/spawn-plan.js';
import { Killswitch, type KillswitchParts } from './killswitch.service.js';

describe('the killswitch', () => {
  let api: TestApi;
  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());

  it('kills an agent that waits: a tombstone that the reaper signed, the state, and no start any more', async () => {
    const { body: agent } = await api.command(api.instance.signedSpawn());
    const { status, body } = await api.call<{ outcome: string; observation: string; agent: AgentView }>(
      'POST',
      `/agents/${agent.agentId}/kill`,
      { reason: 'enough\u001b[2J' },
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({ outcome: 'tombstoned', agent: { state: 'killed', agentId: agent.agentId } });
    const envelope = decodeEnvelope(fromBase64(body.observation));
    const { publicKey } = await api.reaper.describe();
    const keys = new KeyRing([keyRecord(INSTANCE, publicKey, ['observe'])]);
    verifyEnvelope(envelope, { kind: 'observation', purpose: 'observe', keys });
    expect(fromBinary(ObservationSchema, envelope.payload)).toMatchObject({ agentId: agent.agentId });
    expect(await api.store.claim(agentId(agent.agentId))).toEqual({ kind: 'refused', state: 'killed' });
    const verified = await verifyLog(join(api.instance.directory, 'audit.log'));
    expect(verified.ok).toBe(true);
  });

  it('leaves a tombstone for an agent that it has not seen', async () => {
    const id = newId();
    const { status, body } = await api.call('POST', `/agents/${id}/kill`);
    expect([status, body['outcome'], body['agent']]).toEqual([200, 'tombstoned', null]);
  });

  it('follows a kill that the spoke ordered from the reaper', async () => {
    const { body: agent } = await api.command(api.instance.signedSpawn());
    const first = await api.call<{ agent: AgentView }>('POST', `/agents/${agent.agentId}/noticed-kill`);
    expect(first.body.agent.state).toBe('queued');
    await api.reaper.kill({ agentId: agent.agentId, timeoutMs: 1000 });
    const second = await api.call<{ agent: AgentView }>('POST', `/agents/${agent.agentId}/noticed-kill`);
    expect(second.body.agent.state).toBe('killed');
  });

  it('says of an agent that a former orchestrator was pushing for what the source may have', async () => {
    const { body } = await api.command(api.instance.signedSpawn());
    const id = agentId(body.agentId);
    await api.store.claim(id);
    const pushing = { branch: 'capstan/task', commit: 'c'.repeat(40) };
    const sessions = new Sessions(api.instance.paths.agents, undefined);
    const { uid, gid } = await sessions.open(id);
    await sessions.remember({ agentId: id, uid, gid, pushing });
    await api.call('POST', `/agents/${id}/kill`);
    const killed = await until('it is killed', async () => {
      const agent = await api.store.find(id);
      return agent?.state === 'killed' ? agent : undefined;
    });
    expect(killed.warnings).toEqual([{ code: 'push-unknown', sentence: expect.stringContaining(pushing.commit) }]);
  });

  it('kills all: nothing that was admitted before is left, and nothing is admitted until it is re-armed', async () => {
    const { body: agent } = await api.command(api.instance.signedSpawn());
    const killed = await api.call('POST', '/agents/kill-all', { reason: 'stop' });
    expect([killed.status, killed.body['epoch']]).toEqual([200, '1']);
    await until('nothing lives', async () => (await api.store.live()).length === 0 || undefined);
    expect((await api.store.find(agentId(agent.agentId)))?.state).toBe('killed');
    const refused = await api.command(api.instance.signedSpawn());
    expect([refused.status, refused.body.code]).toEqual([409, 'disarmed']);
    expect((await api.call('POST', '/agents/rearm')).status).toBe(204);
    const again = await api.command(api.instance.signedSpawn());
    expect(again.status).toBe(202);
    expect((await api.store.findPlan(agentId(again.body.agentId)))?.killEpochs).toEqual([
      { scope: 'instance', scopeId: '', epoch: '1' },
    ]);
  });

  it('kills all of those that were admitted before, and nobody who was admitted after it was re-armed', async () => {
    const { body: before } = await api.command(api.instance.signedSpawn());
    // The states are looked through while Valkey is thawed again, when the owner has long re-armed and spawned anew.
    const after = agentId(newId());
    api.instance.valkey.freeze();
    await api.call('POST', '/agents/kill-all', { reason: 'stop' });
    expect((await api.call('POST', '/agents/rearm')).status).toBe(204);
    const spawning = api.command(api.instance.signedSpawn({ agentId: after }));
    api.instance.valkey.thaw();
    expect((await spawning).status).toBe(202);
    await until(
      'who was before is killed',
      async () => (await api.store.find(agentId(before.agentId)))?.state === 'killed' || undefined,
    );
    expect((await api.store.find(after))?.state).toBe('queued');
  });

  it('tells a run that began while the order was carried out, so that nothing more of it goes out', async () => {
    const runs = new AgentRuns();
    const plan = planFor();
    let run: AgentRun | undefined;
    const killswitch = new Killswitch({
      runs,
      reaper: {
        kill: async () => {
          run = runs.open(plan.agentId, () => undefined);
          return { outcome: 'killed', observation: new Uint8Array() };
        },
      },
      store: { find: async () => undefined },
      audit: { append: async () => undefined },
    } as Partial<Record<keyof KillswitchParts, unknown>> as KillswitchParts);
    const killing = killswitch.kill(plan.agentId, '');
    await until('it is told', () => run?.killed.aborted);
    run?.close();
    expect((await killing).outcome).toBe('killed');
  });

  it('kills while Valkey does not answer', async () => {
    const { body: agent } = await api.command(api.instance.signedSpawn());
    api.instance.valkey.freeze();
    const began = Date.now();
    const { body } = await api.call('POST', `/agents/${agent.agentId}/kill`);
    const took = Date.now() - began;
    api.instance.valkey.thaw();
    expect(body).toMatchObject({ outcome: 'tombstoned', agent: null });
    expect(took).toBeLessThan(3000);
    await until(
      'the state follows',
      async () => (await api.store.find(agentId(agent.agentId)))?.state === 'killed' || undefined,
    );
  });

  it('says so while the reaper is away, and kills once it is back', async () => {
    const { body: agent } = await api.command(api.instance.signedSpawn());
    await api.instance.stopReaper();
    const { status, body } = await api.call('POST', `/agents/${agent.agentId}/kill`);
    expect([status, body['code']]).toEqual([503, 'reaper-unavailable']);
    await api.instance.startReaper();
    await until(
      'it is killed',
      async () => (await api.store.find(agentId(agent.agentId)))?.state === 'killed' || undefined,
    );
  });

  it(
    'kills everything of one tenant, lets nothing of it start, and leaves the others alone',
    proves('ORC-117', async () => {
      const { body: mine } = await api.command(api.instance.signedSpawn());
      const other = planFor({ tenant: tenantId('other') });
      await api.store.create(other, 'digest', 1000);
      const killed = await api.call('POST', '/agents/kill-all', { tenant: 'default' });
      expect([killed.status, killed.body['epoch']]).toEqual([200, '1']);
      await until('it is killed', async () => (await api.store.find(agentId(mine.agentId)))?.state === 'killed');
      expect((await api.store.find(other.agentId))?.state).toBe('queued');
      expect((await api.command(api.instance.signedSpawn())).body.code).toBe('disarmed');
      expect((await api.call('POST', '/agents/rearm', { tenant: 'default' })).status).toBe(204);
      expect((await api.command(api.instance.signedSpawn())).status).toBe(202);
      await api.call('POST', `/agents/${other.agentId}/kill`);
    }),
  );

  it(
    'kills the agents of a task that wait, and no others',
    proves('ORC-117', async () => {
      const { body: mine } = await api.command(api.instance.signedSpawn());
      const { body: other } = await api.command(api.instance.signedSpawn());
      const killed = await api.call<{ agents: unknown[] }>('POST', `/tasks/${mine.taskId}/kill`, {});
      expect(killed.body.agents).toEqual([
        { agentId: mine.agentId, outcome: 'tombstoned', observation: expect.any(String) },
      ]);
      expect((await api.call('GET', `/tasks/${mine.taskId}`)).body).toMatchObject({ state: 'failed' });
      expect((await api.call('GET', `/tasks/${other.taskId}`)).body).toMatchObject({ state: 'pending' });
      expect(killed.body).toMatchObject({ complete: true });
    }),
  );

  /** As one that is being started, or whose work is being taken in: neither is in the reaper's register or on disk. */
  function runOf(plan: SpawnPlan): AgentRun {
    const run = api.runs.open(plan.agentId, () => undefined);
    if (run === undefined) throw new Error('it runs already');
    run.plan = plan;
    return run;
  }

  it('kills an agent of a task that is being started, and says that it does not know who waits, without Valkey', async () => {
    const run = runOf(planFor());
    const other = runOf(planFor());
    const taskId = run.plan?.taskId ?? '';
    api.instance.valkey.freeze();
    const { status, body } = await api.call('POST', `/tasks/${taskId}/kill`, {});
    api.instance.valkey.thaw();
    expect([status, body]).toEqual([
      200,
      {
        complete: false,
        agents: [{ agentId: run.agentId, outcome: 'tombstoned', observation: expect.any(String) }],
      },
    ]);
    expect([run.intent, other.intent]).toEqual([{ kind: 'killed' }, undefined]);
    run.close();
    other.close();
    expect((await api.call('POST', `/tasks/${taskId}/kill`, {})).body).toMatchObject({ complete: true });
  });

  it('lets the work of nobody out whom a kill-all of his tenant means, though no process of him is left', async () => {
    const [mine, other] = [runOf(planFor()), runOf(planFor({ tenant: tenantId('other') }))];
    expect((await api.call('POST', '/agents/kill-all', { tenant: 'default' })).status).toBe(200);
    expect([mine.intent, other.intent]).toEqual([{ kind: 'killed' }, undefined]);
    expect((await api.call('POST', '/agents/rearm', { tenant: 'default' })).status).toBe(204);
    mine.close();
    other.close();
  });

  it.each(['tenant', 'instance'] as const)(
    'follows a kill-all of the %s that was ordered at the reaper',
    async (scope) => {
      const { body: waiting } = await api.command(api.instance.signedSpawn());
      const [mine, other] = [runOf(planFor()), runOf(planFor({ tenant: tenantId('other') }))];
      const scopeId = scope === 'tenant' ? 'default' : '';
      const { killEpochs } = await api.reaper.describe();
      const present = killEpochs.find((it) => it.scope === scope && it.scopeId === scopeId)?.epoch ?? 0n;
      // Both were admitted since the kill-alls before.
      for (const { plan } of [mine, other])
        plan?.killEpochs.push(...killEpochs.map((it) => ({ ...it, epoch: String(it.epoch) })));
      await api.reaper.killAll({ scope, scopeId, epoch: present + 1n, timeoutMs: 1000 });
      expect((await api.call('POST', '/agents/noticed-kill-all')).status).toBe(204);
      expect(mine.intent).toEqual({ kind: 'killed' });
      expect(other.intent).toEqual(scope === 'tenant' ? undefined : { kind: 'killed' });
      await until('the one that waits is killed', async () => {
        return (await api.store.find(agentId(waiting.agentId)))?.state === 'killed' || undefined;
      });
      mine.close();
      other.close();
      await api.reaper.rearm({ scope, scopeId });
    },
  );
});
