import { eq } from 'drizzle-orm';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { DatabaseService } from '../database/database.service.js';
import { audit } from '../database/schema.js';
import { TestHub } from '../../test/test-hub.js';
import { codeOfEnd, readInvite, TestSpoke } from '../../test/test-spoke.js';
import type { ConnectionView } from './connection.js';
import { CONNECTION_STATES, type ConnectionState, mayMove, MOVERS, type Mover } from './connection-state.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;
let hub: TestHub;

beforeAll(async () => {
  postgres = await startTestPostgres();
  hub = await TestHub.start(await postgres.freshDatabase());
});

afterAll(async () => {
  await hub[Symbol.asyncDispose]();
  await postgres.stop();
});

let names = 0;

async function enrolled(autoApprove = true): Promise<{ spoke: TestSpoke; id: string }> {
  const spoke = new TestSpoke(hub, `spoke-${String(++names)}`);
  const { body } = await hub.post<{ invite: string }>('enrollments', { autoApprove });
  expect((await spoke.redeem(readInvite(body.invite))).status).toBe(200);
  return { spoke, id: (await viewOf(spoke)).id };
}

async function viewOf({ instanceId }: TestSpoke): Promise<ConnectionView> {
  const { body } = await hub.get<ConnectionView[]>('connections');
  const view = body.findLast((each) => each.instanceId === instanceId);
  if (view === undefined) throw new Error(`${instanceId} is not enrolled`);
  return view;
}

const order = (id: string, verb: string, body: object = {}) =>
  hub.post<ConnectionView & { code: string }>(`connections/${id}/${verb}`, body);

/** An instance whose connection is in this state; suspended by the side that will be asked to move it. */
async function inState(state: ConnectionState, mover: Mover): Promise<{ spoke: TestSpoke; id: string }> {
  const made = await enrolled(state !== 'PENDING');
  if (state === 'SUSPENDED' && mover === 'owner') await made.spoke.postWish(made.spoke.wish('SUSPENDED'));
  const verb = { PENDING: '', ACTIVE: '', SUSPENDED: 'suspend', DISCONNECTED: 'disconnect', REVOKED: 'revoke' }[state];
  if (verb !== '' && !(state === 'SUSPENDED' && mover === 'owner')) await order(made.id, verb);
  expect((await viewOf(made.spoke)).state).toBe(state);
  return made;
}

const VERBS: Record<Exclude<ConnectionState, 'PENDING'>, string[]> = {
  ACTIVE: ['approve', 'resume'],
  SUSPENDED: ['suspend'],
  DISCONNECTED: ['disconnect'],
  REVOKED: ['revoke'],
};

describe.each(CONNECTION_STATES)('from %s', (from) => {
  const targets = CONNECTION_STATES.filter((to) => to !== 'PENDING');
  const steps = targets.flatMap((to) => MOVERS.map((mover) => [to, mover] as const));

  test.each(steps)('to %s by the %s, as the table says and not otherwise', (to, mover) =>
    proves('FED-03', async () => {
      const { spoke, id } = await inState(from, mover);
      const may = mayMove(from, to, mover);
      if (mover === 'owner') {
        // Later than whatever brought it here, in the same millisecond too.
        const { status, body } = await spoke.postWish(spoke.wish(to, { nowMs: Date.now() + 1_000 }));
        if (from === 'REVOKED') expect(body.code).toBe('key-revoked');
        else if (to === 'REVOKED') expect([status, body.code]).toEqual([400, 'payload-malformed']);
        else if (from === to || may) expect([status, body.state]).toEqual([200, to]);
        else expect([status, body.code]).toEqual([409, 'connection-transition']);
      } else {
        for (const verb of VERBS[to]) {
          const isMeant = to !== 'ACTIVE' || from === to || verb === (from === 'PENDING' ? 'approve' : 'resume');
          const { status, body } = await order(id, verb);
          if ((from === to || may) && isMeant) expect([status, body.state]).toEqual([200, to]);
          else if (!(await viewOf(spoke)).state.startsWith(to))
            expect([status, body.code]).toEqual([409, 'connection-transition']);
        }
      }
      expect((await viewOf(spoke)).state).toBe(may ? to : from);
    })(),
  );
});

test(
  'each move is audited: from, to, by which side and person, and why; a repetition is not',
  proves('FED-03', async () => {
    const { id } = await enrolled();
    await order(id, 'suspend', { reason: 'maintenance\u001b[2J' });
    await order(id, 'suspend', { reason: 'again' });
    const { records } = await auditOf(id);
    expect(records.at(-1)).toMatchObject({
      kind: 'connection.moved',
      detail: { from: 'ACTIVE', to: 'SUSPENDED', mover: 'admin', by: 'admin', suspendedBy: 'admin' },
    });
    expect(records.filter(({ kind }) => kind === 'connection.moved')).toHaveLength(1);
    expect(String(records.at(-1)?.detail['reason'])).not.toContain('\u001b');
    expect(await order(id, 'suspend', { reason: 'x'.repeat(501) })).toMatchObject({ status: 400 });
    expect(await order('nobody', 'suspend')).toMatchObject({ status: 404, body: { code: 'not-found' } });
  }),
);

async function auditOf(subject: string) {
  const { db } = hub.app.get(DatabaseService, { strict: false });
  const rows = await db.select().from(audit).where(eq(audit.subject, subject)).orderBy(audit.sequence);
  return { records: rows.map(({ record }) => JSON.parse(record) as { kind: string; detail: Record<string, unknown> }) };
}

test(
  'what one side suspends the other cannot resume; where both do, both must',
  proves('FED-03', async () => {
    const { spoke, id } = await enrolled();
    await spoke.connect();
    await order(id, 'suspend');
    expect(await spoke.offer(spoke.wish('ACTIVE'), 'events')).toEqual({
      is: 'rejected',
      code: 'connection-transition',
      retryable: false,
    });
    expect(await spoke.offer(spoke.wish('SUSPENDED', { nowMs: Date.now() + 10 }), 'events')).toEqual({
      is: 'acknowledged',
    });
    expect(await viewOf(spoke)).toMatchObject({ state: 'SUSPENDED', suspendedBy: ['admin', 'owner'] });
    expect((await order(id, 'resume')).body).toMatchObject({ state: 'SUSPENDED', suspendedBy: ['owner'] });
    expect(await order(id, 'resume')).toMatchObject({ status: 409, body: { code: 'connection-transition' } });
    expect(await spoke.offer(spoke.wish('ACTIVE', { nowMs: Date.now() + 20 }), 'events')).toEqual({
      is: 'acknowledged',
    });
    expect(await viewOf(spoke)).toMatchObject({ state: 'ACTIVE', suspendedBy: [] });
    await spoke.disconnect();
  }),
);

test(
  'a wish is taken once, in its order, from the instance itself and for this hub only',
  proves('FED-03', async () => {
    const { spoke } = await enrolled();
    const { spoke: other } = await enrolled();
    const nowMs = Date.now() + 100;
    const suspend = spoke.wish('SUSPENDED', { nowMs });
    const resume = spoke.wish('ACTIVE', { nowMs: nowMs + 1 });
    for (const wish of [suspend, resume, suspend]) expect((await spoke.postWish(wish)).status).toBe(200);
    expect((await viewOf(spoke)).state).toBe('ACTIVE');
    const forged = [
      spoke.wish('SUSPENDED', { nowMs: nowMs + 2 }, other.key),
      other.wish('SUSPENDED', { nowMs: nowMs + 2, issuer: spoke.instanceId }),
      { ...suspend, payload: spoke.wish('SUSPENDED', { nowMs: nowMs + 2 }).payload },
    ];
    for (const wish of forged) expect((await spoke.postWish(wish)).status).toBeGreaterThanOrEqual(400);
    expect((await viewOf(spoke)).state).toBe('ACTIVE');
  }),
);

test(
  'a suspended instance keeps its link and gets kills, and what waited once it is resumed',
  proves('FED-03', async () => {
    const { spoke, id } = await enrolled();
    await spoke.connect();
    await order(id, 'suspend');
    expect((await viewOf(spoke)).online).toBe(true);
    const spawn = {
      instance: spoke.instanceId,
      agentType: 'worker',
      context: { repository: '/srv/r', workItems: ['x'] },
    };
    expect(await hub.post('agents/spawn', spawn)).toMatchObject({
      status: 409,
      body: { code: 'connection-not-active' },
    });
    await hub.post('agents/agent-1/kill', { instance: spoke.instanceId, waitMs: 0 });
    const kill = await until('the kill has come', () => spoke.ordered.find(({ lane }) => lane === 'kill'));
    expect(kill.command.body.case).toBe('kill');
    await order(id, 'resume');
    expect((await hub.post('agents/spawn', spawn)).status).toBe(202);
    await until('the spawn has come', () => spoke.ordered.find(({ command }) => command.body.case === 'spawn'));
    await spoke.disconnect();
  }),
);

test(
  'a disconnected instance loses its link and what waited for it, and returns only by enrolling again',
  proves(['FED-02', 'FED-03'], async () => {
    const { spoke, id } = await enrolled();
    const link = await spoke.connect();
    const spawn = {
      instance: spoke.instanceId,
      agentType: 'worker',
      context: { repository: '/srv/r', workItems: ['x'] },
    };
    const { body } = await hub.post<{ commandId: string }>('agents/spawn', spawn);
    const waiting = hub.get<{ state: string; refusal: { code: string } }>(`commands/${body.commandId}?waitMs=10000`);
    await order(id, 'disconnect');
    expect(await codeOfEnd(link)).toBe('connection-not-active');
    expect((await waiting).body).toMatchObject({ state: 'FAILED', refusal: { code: 'connection-not-active' } });
    expect((await hub.post('agents/agent-1/kill', { instance: spoke.instanceId })).status).toBe(409);
    await spoke.disconnect();
    await expect(spoke.connect()).rejects.toThrow('connection-not-active');
    await spoke.disconnect();
    // An old wish says nothing about the new connection.
    const old = spoke.wish('DISCONNECTED', { nowMs: Date.now() - 60_000 });
    const { body: again } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
    expect((await spoke.redeem(readInvite(again.invite))).status).toBe(200);
    await spoke.connect();
    expect(await spoke.offer(old, 'events')).toEqual({ is: 'acknowledged' });
    expect(await viewOf(spoke)).toMatchObject({ state: 'ACTIVE', online: true });
    // The connection that has ended has no link, whatever key the instance has: nothing can be killed by it.
    const { body: all } = await hub.get<ConnectionView[]>('connections');
    expect(all.find((each) => each.id === id)).toMatchObject({
      state: 'DISCONNECTED',
      online: false,
      stoppable: { proven: false, ageMs: null },
      auditConflict: null,
    });
    // Its keys are those of the connection that it has now.
    expect(await order(id, 'revoke')).toMatchObject({ status: 409, body: { code: 'connection-transition' } });
    await spoke.disconnect();
  }),
);
