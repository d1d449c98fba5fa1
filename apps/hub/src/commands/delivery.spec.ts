import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { AgentState, encodeEnvelope, KillOutcome, toBase64 } from '@capstan/protocol';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestHub } from '../../test/test-hub.js';
import { type Ordered, snapshot, TestSpoke } from '../../test/test-spoke.js';
import type { CommandView } from './command-view.js';
import { CommandStore } from './command.store.js';
import { Outbox } from './outbox.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;
let hub: TestHub;
let spoke: TestSpoke;

beforeAll(async () => {
  postgres = await startTestPostgres();
});

afterAll(async () => {
  await postgres.stop();
});

beforeEach(async () => {
  hub = await TestHub.start(await postgres.freshDatabase());
  spoke = await TestSpoke.connected(hub, 'harbor');
});

afterEach(async () => {
  await spoke.disconnect();
  await hub[Symbol.asyncDispose]();
});

function spawn(overrides: object = {}) {
  const context = { repository: '/srv/repository', workItems: ['Map it.'] };
  const body = { instance: 'harbor', agentType: 'worker', context, ...overrides };
  return hub.post<{ commandId: string; agentId: string; code: string }>('agents/spawn', body);
}

function orderOf(commandId: string): Promise<Ordered> {
  return until('the order has come', () => spoke.ordered.find(({ command }) => command.header?.id === commandId));
}

async function command(id: string): Promise<CommandView> {
  return (await hub.get<CommandView>(`commands/${id}`)).body;
}

async function sql(text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: hub.databaseUrl });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

/** Lets the hub's clocks pass, without waiting. */
function sweepAfter(ms: number): void {
  hub.app.get(Outbox, { strict: false }).sweep(Date.now() + ms, performance.now() + ms);
}

test(
  'a command is in the database when the API answers 202',
  proves('FED-08', async () => {
    const { status, body } = await spawn();
    expect(status).toBe(202);
    const rows = await sql(`SELECT state FROM commands WHERE id = '${body.commandId}'`);
    expect(rows).toEqual([{ state: 'PENDING' }]);
    expect(await sql(`SELECT subject FROM audit WHERE kind = 'command.issued'`)).toEqual([{ subject: body.commandId }]);
  }),
);

test(
  'an instance that is away gets its commands on return, kills first, and none that has expired',
  proves('FED-08', async () => {
    await spoke.disconnect();
    const [first, second] = [(await spawn()).body, (await spawn()).body];
    const brief = (await spawn({ expiresInMs: 1_000 })).body;
    const killed = await hub.post(`agents/${second.agentId}/kill`, { waitMs: 0 });
    expect(killed).toMatchObject({ status: 202, body: { outcome: 'unconfirmed', confirmed: false } });
    sweepAfter(2_000);
    expect(await command(brief.commandId)).toMatchObject({ state: 'TIMEOUT', refusal: { code: 'expired' } });

    await spoke.connect();
    await until('all have come', () => spoke.ordered.length === 3 || undefined);
    expect(spoke.ordered.map(({ command: { header } }) => header?.id)).toEqual([
      killed.body['commandId'],
      first.commandId,
      second.commandId,
    ]);
    expect(await command(first.commandId)).toMatchObject({ state: 'PENDING' });
  }),
);

test(
  'a hub that starts again still has what was not acknowledged, and sends it again',
  proves('FED-08', async () => {
    const [acknowledged, open] = [(await spawn()).body, (await spawn()).body];
    await spoke.acknowledge(await orderOf(acknowledged.commandId));
    await until(
      'it is delivered',
      async () => (await command(acknowledged.commandId)).state === 'DELIVERED' || undefined,
    );
    await spoke.disconnect();
    await hub.stop();
    hub = await hub.successor();
    const back = Object.assign(new TestSpoke(hub, 'harbor'), { key: spoke.key, reaper: spoke.reaper });
    await back.connect();
    const order = await until('it came again', () => back.ordered[0]);
    expect(order.command.header?.id).toBe(open.commandId);
    expect(back.ordered).toHaveLength(1);
    // A receipt for the command that the old hub had sent is bound to it by the new one.
    const receipt = back.receipt(await orderOf(acknowledged.commandId), {
      case: 'spawned',
      value: snapshot(acknowledged.agentId, AgentState.QUEUED, 1n),
    });
    expect(await back.offer(receipt)).toEqual({ is: 'acknowledged' });
    await back.disconnect();
  }),
);

test(
  'what is not acknowledged on an open link is sent again; what was, is not',
  proves('FED-08', async () => {
    const { commandId } = (await spawn()).body;
    const order = await orderOf(commandId);
    await spoke.reject(order, 'queue-unavailable', true);
    sweepAfter(6_000);
    await until('it came twice', () => spoke.ordered.length === 2 || undefined);
    expect(spoke.ordered[1]?.envelope.payload).toEqual(order.envelope.payload);
    await spoke.acknowledge(order);
    await until('it is delivered', async () => (await command(commandId)).state === 'DELIVERED' || undefined);
    sweepAfter(60_000);
    expect(await command(commandId)).toMatchObject({ state: 'DELIVERED', deliveredAt: expect.any(String) as string });
    expect(spoke.ordered).toHaveLength(2);
  }),
);

test('what was dated an hour ahead by a clock that was set back is failed where the instance finds it too early', async () => {
  const now = Date.now.bind(Date);
  const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000);
  const ahead = (await spawn()).body.commandId;
  clock.mockRestore();
  const right = (await spawn()).body.commandId;
  for (const id of [ahead, right]) await spoke.reject(await orderOf(id), 'clock-skew', true);
  const failed = await until('it has failed', async () => {
    const found = await command(ahead);
    return found.state === 'FAILED' ? found : undefined;
  });
  expect(failed).toMatchObject({ refusal: { code: 'clock-skew' } });
  expect(await command(right)).toMatchObject({ state: 'PENDING' });
});

test('one that was found too early while that clock still stood ahead comes again in seconds, not in that hour', async () => {
  const now = Date.now.bind(Date);
  const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000);
  const { commandId } = (await spawn()).body;
  const order = await orderOf(commandId);
  await spoke.reject(order, 'clock-skew', true);
  clock.mockRestore();
  sweepAfter(6_000);
  await until('it came again', () => spoke.ordered.length === 2);
  await spoke.reject(order, 'clock-skew', true);
  await until('it has failed', async () => (await command(commandId)).state === 'FAILED');
});

test(
  'a late receipt outranks the timeout that the hub concluded alone',
  proves('FED-08', async () => {
    const { commandId, agentId } = (await spawn({ expiresInMs: 1_000 })).body;
    const order = await orderOf(commandId);
    sweepAfter(2_000);
    expect(await command(commandId)).toMatchObject({ state: 'TIMEOUT' });
    await spoke.offer(spoke.receipt(order, { case: 'spawned', value: snapshot(agentId, AgentState.QUEUED, 1n) }));
    const view = await command(commandId);
    expect(view).toMatchObject({ state: 'DELIVERED', receipts: [{ kind: 'spawned' }] });
    expect(view.refusal).toBeUndefined();
    expect(await sql(`SELECT state, refusal_code FROM commands WHERE id = '${commandId}'`)).toEqual([
      { state: 'DELIVERED', refusal_code: null },
    ]);
  }),
);

test(
  'a kill stays open until its death is proven: on a new link and after a restart of the hub it is sent again',
  proves('FED-08', async () => {
    const { agentId } = (await spawn()).body;
    const { body } = await hub.post<{ commandId: string }>(`agents/${agentId}/kill`, { waitMs: 0 });
    const kill = await orderOf(body.commandId);
    await spoke.acknowledge(kill);
    const unconfirmed = { case: 'killed', value: { outcome: KillOutcome.UNCONFIRMED } } as const;
    expect(await spoke.offer(spoke.receipt(kill, unconfirmed), 'kill')).toEqual({ is: 'acknowledged' });
    expect(await command(body.commandId)).toMatchObject({ state: 'DELIVERED', settledAt: null });
    const timesItCame = (of: TestSpoke): number =>
      of.ordered.filter(({ command: { header } }) => header?.id === body.commandId).length;

    await spoke.disconnect();
    await spoke.connect();
    await until('it came again', () => timesItCame(spoke) === 2);
    await spoke.disconnect();
    await hub.stop();
    hub = await hub.successor();
    const back = Object.assign(new TestSpoke(hub, 'harbor'), { key: spoke.key, reaper: spoke.reaper });
    await back.connect();
    await until('it came from the new hub', () => timesItCame(back) === 1);

    const observation = back.observation(kill, agentId, KillOutcome.KILLED);
    await back.offer(
      back.receipt(kill, { case: 'killed', value: { outcome: KillOutcome.KILLED, observation } }),
      'kill',
    );
    expect(await command(body.commandId)).toMatchObject({
      state: 'DELIVERED',
      settledAt: expect.any(String) as string,
    });
    await back.disconnect();
    await back.connect();
    sweepAfter(60_000);
    expect(timesItCame(back)).toBe(1);
    await back.disconnect();
  }),
);

test('a kill that was taken and is never confirmed is given up after its time, and the record says so', async () => {
  const { agentId } = (await spawn()).body;
  const { body } = await hub.post<{ commandId: string }>(`agents/${agentId}/kill`, { waitMs: 0 });
  await spoke.acknowledge(await orderOf(body.commandId));
  await until('it is delivered', async () => (await command(body.commandId)).state === 'DELIVERED' || undefined);
  sweepAfter(25 * 3_600_000);
  expect(await command(body.commandId)).toMatchObject({ state: 'DELIVERED', settledAt: expect.any(String) as string });
  await until('it is on paper', async () => (await sql(`SELECT 1 FROM audit WHERE kind = 'kill.unconfirmed'`)).length);
});

test('a kill that its instance refuses stays open: it is said and audited, and offered again', async () => {
  const { agentId } = (await spawn()).body;
  const { body } = await hub.post<{ commandId: string }>(`agents/${agentId}/kill`, { waitMs: 0 });
  expect(body).toMatchObject({ confirmed: false, outcome: 'unconfirmed', leaseEndsAt: expect.any(String) as string });
  const kill = await orderOf(body.commandId);
  await spoke.reject(kill, 'key-unknown', false);
  const refused = await until('it is noted', async () => {
    const found = await command(body.commandId);
    return found.refusal === undefined ? undefined : found;
  });
  expect(refused).toMatchObject({ state: 'PENDING', settledAt: null, refusal: { code: 'key-unknown' } });
  // Nor can it fill the record with refusals.
  await spoke.reject(kill, 'key-revoked', false);
  sweepAfter(61_000);
  await until('it came again', () => spoke.ordered.filter(({ command: { header } }) => header?.id === refused.id)[1]);
  await spoke.offer(spoke.receipt(kill, { case: 'killed', value: deathBy(spoke, kill, agentId) }), 'kill');
  const proven = await command(body.commandId);
  expect(proven).toMatchObject({ state: 'DELIVERED', settledAt: expect.any(String) as string });
  expect(proven.refusal).toBeUndefined();
  const rows = await sql(`SELECT 1 FROM audit WHERE kind = 'command.rejected' AND subject = '${refused.id}'`);
  expect(rows).toHaveLength(1);
});

test('a kill under the id of another command is in the audit chain, whole', async () => {
  const { commandId } = (await spawn()).body;
  const { body } = await hub.post<{ commandId: string }>('agents/agent-9/kill', { instance: 'harbor', waitMs: 0 });
  const store = hub.app.get(CommandStore, { strict: false });
  const record = store.known(body.commandId);
  if (record === undefined) throw new Error('the kill is not known');
  await store.addKill({ ...record, id: commandId }, 'op-alice');
  const [row] = await until('it is in the chain', async () => {
    const rows = await sql(`SELECT record FROM audit WHERE kind = 'kill.id-used' AND subject = '${commandId}'`);
    return rows.length > 0 ? rows : undefined;
  });
  expect(JSON.parse(String(row?.['record']))).toMatchObject({
    detail: { by: 'op-alice', digest: record.digest, envelope: toBase64(encodeEnvelope(record.envelope)) },
  });
});

test('a newer link of an instance replaces the older, and orders go to it', async () => {
  const old = spoke.link;
  const newer = Object.assign(new TestSpoke(hub, 'harbor'), { key: spoke.key });
  await newer.connect();
  await old?.closed;
  await spoke.disconnect();
  await spawn();
  await until('the order came to the newer link', () => newer.ordered[0]);
  expect(spoke.ordered).toHaveLength(0);
  await newer.disconnect();
});

describe('while the database is away', () => {
  afterEach(async () => {
    await postgres.crash();
    await postgres.restart();
  });

  test('nothing is accepted that could be lost, and the hub says so', async () => {
    const { agentId } = (await spawn()).body;
    await postgres.crash();
    expect(await spawn()).toMatchObject({ status: 503, body: { code: 'database-unavailable' } });
    expect(await hub.get(`agents/${agentId}/status`)).toMatchObject({ status: 503 });
    expect((await hub.request('GET', '/health/ready', undefined, {})).status).toBe(503);
    expect((await hub.request('GET', '/health', undefined, {})).status).toBe(200);
    await postgres.restart();
    await until('it accepts again', async () => (await spawn()).status === 202 || undefined);
    expect((await hub.request('GET', '/health/ready', undefined, {})).status).toBe(200);
  });

  test('a kill is sent at once and proven; its record is written late and says so', async () => {
    const { agentId } = (await spawn()).body;
    await postgres.crash();
    spoke.onOrder = (order) => {
      if (order.command.body.case !== 'kill') return;
      const observation = spoke.observation(order, agentId, KillOutcome.KILLED);
      void spoke.offer(
        spoke.receipt(order, { case: 'killed', value: { outcome: KillOutcome.KILLED, observation } }),
        'kill',
      );
    };
    const started = performance.now();
    const { status, body } = await hub.post<{ commandId: string }>(`agents/${agentId}/kill`);
    expect({ status, body }).toMatchObject({ status: 200, body: { outcome: 'killed', confirmed: true } });
    expect(performance.now() - started).toBeLessThan(5_000);

    // An instance can also come back while the database is away.
    await spoke.disconnect();
    await spoke.connect();

    await postgres.restart();
    const view = await until('the record is written', async () => {
      const { status: found, body: seen } = await hub.get<CommandView>(`commands/${body.commandId}`);
      return found === 200 && seen.receipts.length > 0 ? seen : undefined;
    });
    expect(view).toMatchObject({ kind: 'agent.kill', state: 'DELIVERED', receipts: [{ kind: 'killed' }] });
    const rows = await until('it is in the database', async () => {
      const found = await sql(`SELECT record FROM audit WHERE subject = '${body.commandId}' ORDER BY sequence`).catch(
        () => [],
      );
      return found.length === 2 ? found : undefined;
    });
    expect(JSON.parse(String(rows[0]?.['record']))).toMatchObject({ kind: 'command.issued', late: true });
  });

  test('a receipt that is repeated meanwhile is written once', async () => {
    const { agentId } = (await spawn()).body;
    await postgres.crash();
    const answered = hub.post<{ confirmed: boolean }>(`agents/${agentId}/kill`, { waitMs: 30_000 });
    const kill = await until('the kill has come', () =>
      spoke.ordered.find((each) => each.command.body.case === 'kill'),
    );
    const proof = spoke.receipt(kill, { case: 'killed', value: deathBy(spoke, kill, agentId) });
    const verdicts = Array.from({ length: 20 }, () => spoke.offer(proof, 'kill'));
    expect((await answered).body).toMatchObject({ confirmed: true });
    await postgres.restart();
    expect(await verdicts.at(-1)).toEqual({ is: 'acknowledged' });
    const id = kill.command.header?.id ?? '';
    const stored = `SELECT 1 FROM audit WHERE kind = 'receipt.stored' AND subject = '${id}'`;
    await until('it is on disk', async () => (await sql(stored).catch(() => [])).length > 0);
    // What is asked for later is written later.
    await until('the hub writes again', async () => (await spawn()).status === 202);
    expect(await sql(stored)).toHaveLength(1);
  });

  test('a proven death whose order was lost with the hub is kept, whole, in the audit chain', async () => {
    const { agentId } = (await spawn()).body;
    await postgres.crash();
    const { body } = await hub.post<{ commandId: string }>(`agents/${agentId}/kill`, { waitMs: 0 });
    const kill = await orderOf(body.commandId);
    await spoke.disconnect();
    // Nothing that waits for the database survives this, and the hub's own disk does not either.
    await hub.stop();
    await rm(join(hub.stateDirectory, 'kills'), { recursive: true });
    await postgres.restart();
    hub = await hub.successor();
    const back = Object.assign(new TestSpoke(hub, 'harbor'), { key: spoke.key, reaper: spoke.reaper });
    await back.connect();
    expect((await hub.get(`commands/${body.commandId}`)).status).toBe(404);
    const unproven = back.receipt(kill, { case: 'killed', value: { outcome: KillOutcome.UNCONFIRMED } });
    expect(await back.offer(unproven, 'kill')).toMatchObject({ code: 'receipt-mismatch' });

    const observation = back.observation(kill, agentId, KillOutcome.KILLED);
    const proof = back.receipt(kill, { case: 'killed', value: { outcome: KillOutcome.KILLED, observation } });
    expect(await back.offer(proof, 'kill')).toEqual({ is: 'acknowledged' });
    const [row] = await sql(`SELECT record FROM audit WHERE kind = 'receipt.unmatched'`);
    expect(JSON.parse(String(row?.['record']))).toMatchObject({
      subject: body.commandId,
      detail: { instance: 'harbor', agent: agentId, envelope: toBase64(encodeEnvelope(proof)) },
    });
    const other = await TestSpoke.connected(hub, 'quay');
    expect(
      await other.offer(other.receipt(kill, { case: 'killed', value: deathBy(other, kill, agentId) })),
    ).toMatchObject({ code: 'receipt-mismatch' });
    await other.disconnect();
    await back.disconnect();
  });
});

function deathBy(by: TestSpoke, kill: Ordered, agentId: string) {
  return { outcome: KillOutcome.KILLED, observation: by.observation(kill, agentId, KillOutcome.KILLED) };
}
