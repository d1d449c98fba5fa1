import { keyRecord, KeyRing, makeKeyStatement, SigningKey } from '@capstan/identity';
import { AgentState, Direction, fromHex, KillOutcome, newId } from '@capstan/protocol';
import pg from 'pg';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { addOperator, operatorCommand, postCommand, soundSpawn } from '../../test/foreign-orders.js';
import { TestReplicas } from '../../test/test-replicas.js';
import { snapshot, TestSpoke } from '../../test/test-spoke.js';
import type { CommandView } from '../commands/command-view.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(90_000);

interface InstanceDocument {
  keys: { keyId: string; publicKey: string }[];
}

let replicas: TestReplicas;

beforeAll(async () => {
  replicas = await TestReplicas.start();
});
afterAll(() => replicas[Symbol.asyncDispose]());

/** Runs one statement in a session of its own; `hold` leaves its transaction open until it is disposed. */
async function sql(text: string, hold = false): Promise<{ rows: Record<string, unknown>[] } & AsyncDisposable> {
  const client = new pg.Client({ connectionString: replicas.first.databaseUrl });
  await client.connect();
  if (hold) await client.query('BEGIN');
  const { rows } = await client.query<Record<string, unknown>>(text);
  if (!hold) await client.end();
  return { rows, [Symbol.asyncDispose]: () => (hold ? client.end() : Promise.resolve()) };
}

describe('what one replica learns, the others believe', () => {
  test(
    'an instance’s key that was replaced over one lets it in at the other, and the old one only for the overlap',
    proves(['FED-19', 'FED-11'], async () => {
      const { first, second } = replicas;
      await using spoke = await TestSpoke.connected(second, 'anchor');
      const key = SigningKey.generate();
      const old = keyRecord('anchor', spoke.key.publicKey, ['link', 'receipt', 'command']);
      const overlap = { oldUntilMs: Date.now() + 1_000, direction: Direction.SPOKE_TO_HUB, hubId: 'hub' };
      const statement = makeKeyStatement({ old, key, by: spoke.key, ...overlap });
      expect(await spoke.offer(statement, 'control')).toEqual({ is: 'acknowledged' });
      await spoke.disconnect();
      // Its first word at the other may come before the other has heard of it: it dials again, as a spoke does.
      await until('the other lets it in', () => spoke.connect(key, undefined, first).catch(() => spoke.disconnect()));
      expect(spoke.link?.peerId).toBe('hub');
      await spoke.disconnect();
      await until('the old key is nobody’s', async () => {
        const link = await spoke.connect(spoke.key, undefined, first).catch(() => undefined);
        await spoke.disconnect();
        return link === undefined;
      });
    }),
  );

  test(
    'an operator whom one has pinned orders at the other, and once one revokes him he orders at none',
    proves(['FED-19', 'FED-12'], async () => {
      const { first, second } = replicas;
      const alice = SigningKey.generate();
      expect((await addOperator(first, alice)).status).toBe(201);
      const order = (at: typeof first) => postCommand(at, operatorCommand(alice, soundSpawn()));
      await until('the other takes his orders', async () => (await order(second)).status === 202);
      const waiting = (await order(first)).body.commandId;
      await second.request('DELETE', 'operators/op-alice');
      await until('none takes them', async () => {
        const replies = await Promise.all([order(first), order(second)]);
        return replies.every(({ body }) => body.code === 'key-revoked');
      });
      const dropped = await until('what waits of him is dropped', async () => {
        const { body } = await first.get<CommandView>(`commands/${waiting}`);
        return body.state === 'FAILED' && body;
      });
      expect(dropped.refusal?.code).toBe('key-revoked');
    }),
  );
});

describe('what was said at one replica has no second effect at another', () => {
  test(
    'a receipt, as signed for the first, is taken once, and the command is not sent again',
    proves(['FED-19', 'FED-07'], async () => {
      const { first, second } = replicas;
      await using spoke = await TestSpoke.connected(second, 'brig');
      await replicas.known(first, 'brig');
      const context = { repository: '/srv/repository', workItems: ['Map it.'] };
      const body = { instance: 'brig', agentType: 'worker', agentId: newId(), context };
      const { body: accepted } = await first.post<{ commandId: string; agentId: string }>('agents/spawn', body);
      const order = await replicas.orderOf(accepted.commandId, spoke);
      const receipt = spoke.receipt(order, {
        case: 'spawned',
        value: snapshot(accepted.agentId, AgentState.QUEUED, 1n),
      });
      expect(await spoke.offer(receipt)).toEqual({ is: 'acknowledged' });
      await until('the first knows it', async () => {
        const { body: view } = await first.get<CommandView>(`commands/${accepted.commandId}`);
        return view.settledAt !== null;
      });
      await spoke.disconnect();
      await spoke.connect(spoke.key, undefined, first);
      expect(await spoke.offer(receipt)).toEqual({ is: 'acknowledged' });
      // The order that was asked for last has come: so would have what was sent again before it.
      const { body: next } = await first.post<{ commandId: string }>('agents/spawn', { ...body, agentId: newId() });
      await replicas.orderOf(next.commandId, spoke);
      const { rows } = await sql(
        `SELECT kind FROM audit WHERE subject = '${accepted.commandId}' AND kind = 'receipt.stored'`,
      );
      expect(rows).toHaveLength(1);
      const ids = spoke.ordered.map(({ command }) => command.header?.id);
      expect(ids.filter((id) => id === accepted.commandId)).toHaveLength(1);
    }),
  );
});

describe('a kill-all ordered at one replica', () => {
  test(
    'is answered by the instances of the other, with proof, before it answers',
    proves(['FED-19', 'FED-10'], async () => {
      const { first, second } = replicas;
      await using spoke = await TestSpoke.connected(second, 'cutter');
      await replicas.known(first, 'cutter');
      const agentId = newId();
      spoke.onOrder = (order) => {
        const { body } = order.command;
        if (body.case !== 'killAll') return;
        void spoke.offer(spoke.receipt(order, spoke.killedAll(order, [agentId])), 'kill').catch(() => undefined);
      };
      const order = { scope: 'instance', instance: 'cutter', waitMs: 20_000 };
      const headers = { authorization: `Bearer ${first.token}`, accept: 'application/json' };
      const { body } = await first.request('POST', 'agents/kill-all', JSON.stringify(order), {
        ...headers,
        'content-type': 'application/json',
      });
      expect(body).toMatchObject({ instances: [{ instance: 'cutter', confirmed: true }], totals: { confirmed: 1 } });
    }),
  );
});

describe('a replica that serves less says so', () => {
  const health = () => replicas.first.request('GET', '/health/ready', undefined, {});

  test(
    'while Valkey is away',
    proves('FED-19', async () => {
      await until('it is ready', async () => (await health()).body['status'] === 'ready');
      await replicas.valkey.crash();
      const answer = await until('it says so', async () => {
        const { status, body } = await health();
        return body['status'] === 'degraded' && { status, body };
      });
      expect(answer).toEqual({ status: 200, body: { status: 'degraded', degraded: ['valkey'] } });
      await replicas.valkey.restart();
      await until('it is ready again', async () => (await health()).body['status'] === 'ready');
    }),
  );

  test(
    'while it cannot read what the others have revoked, and admits only kills',
    proves(['FED-19', 'FED-12'], async () => {
      const { first, spoke } = replicas;
      spoke.onOrder = (order) => {
        const { body } = order.command;
        if (body.case !== 'kill') return;
        const observation = spoke.observation(order, body.value.agentId, KillOutcome.KILLED);
        const value = { outcome: KillOutcome.KILLED, observation };
        void spoke.offer(spoke.receipt(order, { case: 'killed', value }), 'kill').catch(() => undefined);
      };
      const { agentId } = await replicas.spawn(first);
      {
        // The database is there and answers; only the record cannot be read.
        await using _held = await sql('LOCK TABLE audit IN ACCESS EXCLUSIVE MODE', true);
        const answer = await until('it says so', async () => {
          const { status, body } = await health();
          return body['status'] === 'degraded' && { status, body };
        });
        expect(answer).toEqual({ status: 200, body: { status: 'degraded', degraded: ['revocations'] } });
        const context = { repository: '/srv/repository', workItems: ['Map it.'] };
        const spawn = { instance: 'harbor', agentType: 'worker', context };
        const refused = await first.post<{ code: string }>('agents/spawn', spawn);
        expect({ status: refused.status, code: refused.body.code }).toEqual({ status: 503, code: 'replica-stale' });
        const killed = await first.post(`agents/${agentId}/kill`);
        expect(killed.body).toMatchObject({ outcome: 'killed', confirmed: true });
      }
      await until('it is ready again', async () => (await health()).body['status'] === 'ready');
      await until('it admits again', () => replicas.spawn(first).catch(() => false));
    }),
  );
});

describe('the hub’s own key', () => {
  test(
    'that was replaced at one greets instances at the other, and the linked ones are told',
    proves(['FED-19', 'FED-11'], async () => {
      const { first, second, spoke } = replicas;
      const { body } = await first.post<{ keyId: string }>('instance/rotate-key');
      const key = await until('the other shows it first', async () => {
        const { body: shown } = await second.get<InstanceDocument>('instance');
        return shown.keys[0]?.keyId === body.keyId && shown.keys[0];
      });
      await until('its instance is told', () => spoke.statements.length > 0);
      await spoke.disconnect();
      const known = { ...keyRecord('hub', fromHex(key.publicKey), ['link', 'command']), epoch: 2 };
      const link = await spoke.connect(spoke.key, new KeyRing([known]), second);
      expect(link.peerKeyId).toBe(body.keyId);
    }),
  );
});
