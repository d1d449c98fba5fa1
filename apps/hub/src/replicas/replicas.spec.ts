import { makeHeader, signPayload, SigningKey } from '@capstan/identity';
import { AgentState, CommandSchema, create, Direction, KillOutcome, toBinary } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { StreamReader } from '../../test/stream-reader.js';
import { TestReplicas } from '../../test/test-replicas.js';
import { type Ordered, snapshot, TestSpoke } from '../../test/test-spoke.js';
import { envelopeText } from '../commands/envelope-text.js';
import type { CommandView } from '../commands/command-view.js';
import { ReplicaBus } from './replica-bus.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let replicas: TestReplicas;

beforeAll(async () => {
  replicas = await TestReplicas.start();
});
afterAll(() => replicas[Symbol.asyncDispose]());

/** The spoke takes whatever it is ordered and reports agents as queued, running or dead. */
function obey(spoke: TestSpoke): void {
  spoke.onOrder = (order: Ordered) => {
    void answer(spoke, order).catch(() => undefined);
  };
}

async function answer(spoke: TestSpoke, order: Ordered): Promise<void> {
  const { body } = order.command;
  if (body.case === 'spawn') {
    const value = snapshot(body.value.agentId, AgentState.QUEUED, 1n);
    await spoke.offer(spoke.receipt(order, { case: 'spawned', value }));
  }
  if (body.case === 'status') {
    const value = snapshot(body.value.agentId, AgentState.RUNNING, 2n);
    await spoke.offer(spoke.receipt(order, { case: 'status', value }));
  }
  if (body.case === 'kill') {
    const observation = spoke.observation(order, body.value.agentId, KillOutcome.KILLED);
    const value = { outcome: KillOutcome.KILLED, observation };
    await spoke.offer(spoke.receipt(order, { case: 'killed', value }), 'kill');
  }
  if (body.case === 'logs' || body.case === 'watch') {
    const value = { lines: [], next: 0n };
    await spoke.offer(spoke.receipt(order, { case: 'logs', value }));
  }
}

const settled = (id: string): Promise<CommandView> =>
  until('the receipt is told at the first replica', async () => {
    const { body } = await replicas.first.get<CommandView>(`commands/${id}?waitMs=5000`);
    return body.receipts.length > 0 ? body : undefined;
  });

const ordersOf = (spoke: TestSpoke, id: string): number =>
  spoke.ordered.filter(({ command }) => command.header?.id === id).length;

describe('two replicas', () => {
  beforeEach(() => obey(replicas.spoke));

  test(
    'a command that one accepts reaches the spoke at the other, once, and its receipt the caller',
    proves('FED-19', async () => {
      const { commandId, agentId } = await replicas.spawn(replicas.first);
      const view = await settled(commandId);
      expect(view).toMatchObject({ state: 'DELIVERED', receipts: [{ kind: 'spawned' }] });
      expect(ordersOf(replicas.spoke, commandId)).toBe(1);
      const { status, body } = await replicas.first.get(`agents/${agentId}/status`);
      expect({ status, body }).toMatchObject({ status: 200, body: { agent: { state: 'running' } } });
    }),
  );

  test('a question asked at one is answered by the spoke at the other', async () => {
    const { commandId, agentId } = await replicas.spawn(replicas.first);
    await settled(commandId);
    const { status, body } = await replicas.first.get(`agents/${agentId}/logs`);
    expect({ status, body }).toMatchObject({ status: 200, body: { lines: [] } });
  });

  test('a log is followed at one while the other holds the link', async () => {
    const { commandId, agentId } = await replicas.spawn(replicas.first);
    await settled(commandId);
    await using reader = await StreamReader.open(replicas.first, `agents/${agentId}/logs/stream`);
    const watch = await until('a watch', () =>
      replicas.spoke.ordered
        .flatMap(({ command: { body } }) => (body.case === 'watch' ? [body.value] : []))
        .find((each) => each.agentId === agentId),
    );
    const { watchId } = watch;
    await replicas.spoke.offer(replicas.spoke.lines({ agentId, watchId }, 1, 3), 'events');
    await reader.next('three lines', ({ sequences }) => sequences.length >= 3);
    expect(reader.sequences).toEqual([1, 2, 3]);
  });

  test(
    'a kill at one reaches the spoke at the other while the database is away, and its proof the caller',
    proves('FED-19', async () => {
      const { commandId, agentId } = await replicas.spawn(replicas.first);
      await settled(commandId);
      await replicas.postgres.crash();
      try {
        const { status, body } = await replicas.first.post<{ commandId: string }>(`agents/${agentId}/kill`);
        expect({ status, body }).toMatchObject({ status: 200, body: { outcome: 'killed', confirmed: true } });
        expect(ordersOf(replicas.spoke, body.commandId)).toBe(1);
      } finally {
        await replicas.postgres.restart();
      }
    }),
  );

  test(
    'a replica that cannot know of revocations admits only kills',
    proves('FED-12', async () => {
      const spawn = (): Promise<false | { agentId: string }> => replicas.spawn(replicas.second).catch(() => false);
      const { agentId } = await until('the database is back', spawn);
      await replicas.postgres.crash();
      try {
        const code = await until('it is stale', async () => {
          const order = {
            instance: 'harbor',
            agentType: 'worker',
            context: { repository: '/r', workItems: ['Map it.'] },
          };
          const { body } = await replicas.second.post<{ code: string }>('agents/spawn', order);
          return body.code === 'replica-stale' && body.code;
        });
        expect(code).toBe('replica-stale');
        const { status } = await replicas.second.post(`agents/${agentId}/kill`);
        expect(status).toBe(200);
      } finally {
        await replicas.postgres.restart();
      }
      await until('it is fresh again', spawn);
      await until('so is the other', () => replicas.spawn(replicas.first).catch(() => false));
    }),
  );

  test(
    'nothing is lost while Valkey is away, nor when it comes back empty',
    proves('FED-19', async () => {
      await replicas.valkey.crash();
      const { commandId, agentId } = await replicas.spawn(replicas.first);
      await settled(commandId);
      const { body } = await replicas.first.post(`agents/${agentId}/kill`);
      expect(body).toMatchObject({ outcome: 'killed', confirmed: true });
      expect(ordersOf(replicas.spoke, commandId)).toBe(1);
      await replicas.valkey.restart();
      await replicas.known(replicas.first, 'harbor');
    }),
  );

  test(
    'a newer link at one closes the older at the other',
    proves('FED-19', async () => {
      const spoke = new TestSpoke(replicas.first, 'harbor');
      spoke.sessionEpoch = replicas.spoke.sessionEpoch;
      const older = replicas.spoke.link;
      await spoke.connect(replicas.spoke.key);
      await older?.closed;
      await replicas.spoke.disconnect();
      await spoke.disconnect();
      replicas.spoke.sessionEpoch = spoke.sessionEpoch;
      await replicas.spoke.connect(replicas.spoke.key, undefined, replicas.second);
      await replicas.known(replicas.first, 'harbor');
    }),
  );

  test(
    'a kill in Valkey that nobody may order reaches no spoke',
    proves('FED-19', async () => {
      const { agentId } = await replicas.spawn(replicas.first);
      const stranger = SigningKey.generate();
      const header = makeHeader({ issuer: 'hub', audience: 'harbor', direction: Direction.HUB_TO_SPOKE });
      const body = { case: 'kill', value: { agentId, reason: '' } } as const;
      const payload = toBinary(CommandSchema, create(CommandSchema, { header, body }));
      const envelope = envelopeText(signPayload(stranger, 'command', payload));
      const bus = replicas.first.app.get(ReplicaBus, { strict: false });
      bus.publish({ kind: 'kill', envelope, admission: null });
      // What comes after it on the same channel has come: so had it.
      const { commandId } = await replicas.spawn(replicas.first);
      await settled(commandId);
      expect(ordersOf(replicas.spoke, header.id)).toBe(0);
    }),
  );

  test(
    'a token that one takes back opens nothing at the other',
    proves('FED-19', async () => {
      const { body } = await replicas.first.post<{ token: string }>('/api/v1/auth/tokens', { name: 'ada' });
      const headers = { authorization: `Bearer ${body.token}` };
      const status = async (): Promise<number> =>
        (await replicas.second.request('GET', 'connections', undefined, headers)).status;
      await until('it opens the other', async () => (await status()) === 200);
      await replicas.first.request('DELETE', '/api/v1/auth/tokens/ada');
      await until('it opens nothing', async () => (await status()) === 401);
    }),
  );

  test(
    'a scope that one has stopped is stopped at the other',
    proves('FED-19', async () => {
      const order = { scope: 'tenant', tenant: 'berth', waitMs: 0 };
      const headers = { authorization: `Bearer ${replicas.first.token}`, accept: 'application/json' };
      const { status } = await replicas.first.request('POST', 'agents/kill-all', JSON.stringify(order), headers);
      expect(status).toBe(200);
      const context = { repository: '/srv/repository', workItems: ['Map it.'] };
      const spawn = { instance: 'harbor', agentType: 'worker', tenant: 'berth', context };
      const code = await until('the other knows it', async () => {
        const { body } = await replicas.second.post<{ code?: string }>('agents/spawn', spawn);
        return body.code;
      });
      expect(code).toBe('disarmed');
    }),
  );

  /** @param isAway Valkey is, so that only the database tells. */
  const revokes = (name: string, isAway: boolean) =>
    proves(['FED-12', 'FED-19'], async () => {
      if (isAway) await replicas.valkey.crash();
      await using spoke = await TestSpoke.connected(replicas.second, name);
      const id = await until('the first knows it', async () => {
        const { body } = await replicas.first.get<{ id: string; instanceId: string }[]>('connections');
        return body.find(({ instanceId }) => instanceId === name)?.id;
      });
      const context = { repository: '/srv/repository', workItems: ['Map it.'] };
      const order = { instance: name, agentType: 'worker', context };
      const { body } = await replicas.second.post<{ commandId: string }>('agents/spawn', order);
      await until('it is known', async () => (await replicas.first.get(`commands/${body.commandId}`)).status === 200);
      const { status } = await replicas.first.post(`connections/${id}/revoke`);
      const begin = performance.now();
      expect(status).toBe(200);
      const { code } = (await spoke.link?.closed) ?? {};
      expect(code).toBe('key-revoked');
      const ms = performance.now() - begin;
      process.stdout.write(`a revocation at one replica closed the link at another after ${ms.toFixed(0)} ms\n`);
      expect(ms).toBeLessThan(15_000);
      const dropped = await until('it is dropped', async () => {
        const view = await replicas.second.get<CommandView>(`commands/${body.commandId}`);
        return view.body.state === 'FAILED' && view.body;
      });
      expect(dropped.refusal?.code).toBe('key-revoked');
      if (isAway) await replicas.valkey.restart();
    });

  test('a revocation at one closes the link at the other, and drops what waits', revokes('mole', false));
  test('so it does while Valkey is away', revokes('quay', true));
});
