import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { keyRecord, KeyRing, openEnvelope, SigningKey } from '@capstan/identity';
import { agentOf, AgentState, CommandSchema, Direction, type Envelope, KillOutcome, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { Foreigner } from '../../test/foreign.js';
import { ownerApi } from '../../test/owner-api.js';
import { until } from '../../test/processes.js';
import { TestInstance } from '../../test/test-instance.js';

const AGENT = 'agent-1';
let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start();
}, 30_000);
afterAll(async () => {
  await instance?.[Symbol.asyncDispose]();
});

/** What the owner asks of his spoke. */
function owner<T = Record<string, unknown>>(method: 'GET' | 'POST', path: string, body?: object, token?: string) {
  return ownerApi<T>(instance.dir, method, path, body, token);
}

const context = { repository: '/srv/repo', workItems: ['do it'] };
function spawnOf(target: string, over: object = {}): object {
  return { target, agentType: 'worker', context, agentId: `agent-${newId()}`, ...over };
}

/** What the spoke has sent, once it has. */
async function nextOrder(after: number): Promise<{ envelope: Envelope; lane: string; agentId: string; id: string }> {
  const order = await until(() => instance.hub.ordered[after], 'an order');
  const keys = new KeyRing([...instance.keys.records()].map((it) => ({ ...it, purposes: ['command' as const] })));
  const { payload, header } = openEnvelope(order.envelope, CommandSchema, {
    kind: 'command',
    purpose: 'command',
    keys,
    audience: target(order.envelope),
    direction: Direction.SPOKE_TO_SPOKE,
    nowMs: Date.now(),
  });
  expect(header).toMatchObject({ issuer: 'harbor', hopLimit: 1, keyEpoch: 1 });
  return { ...order, agentId: payload.body.case === undefined ? '' : agentOf(payload.body), id: header.id };
}

function target({ payload }: Envelope): string {
  const text = Buffer.from(payload).toString('latin1');
  return ['quay', 'wharf', 'pier', 'mole', 'dock'].find((name) => text.includes(name)) ?? '';
}

function running(agentId: string) {
  return { case: 'status', value: { agentId, taskId: 'task', state: AgentState.RUNNING, revision: 1n } } as const;
}

/** Sends an answer on, as the hub does. */
async function forward(from: Foreigner, receipt: Envelope, change: Parameters<TestInstance['hub']['admit']>[2] = {}) {
  const observer = { observerKey: from.reaperRecord };
  const admission = instance.hub.admit(receipt, from.record, { tenant: '', ...observer, ...change });
  await instance.hub.sendRouted(receipt, admission, 'results');
}

async function pinned(id: string): Promise<string[]> {
  const { keys } = JSON.parse(await readFile(join(instance.dir, 'peers.json'), 'utf8')) as {
    keys: { owner: string; keyId: string }[];
  };
  return keys.filter(({ owner: of }) => of === id).map(({ keyId }) => keyId);
}

test(
  'a spawn for another instance is signed by this one, and answered once that has signed',
  proves('FED-09', async () => {
    const quay = new Foreigner('quay');
    const calling = owner<{ agentId: string; receipt: { kind: string } }>(
      'POST',
      '/federation/agents/spawn',
      spawnOf('quay'),
    );
    const { envelope, agentId, lane } = await nextOrder(instance.hub.ordered.length);
    expect(lane).toBe('commands');
    const spawned = { case: 'spawned', value: { ...running(agentId).value, state: AgentState.QUEUED } } as const;
    await forward(quay, quay.receipt(envelope, spawned));
    expect(await calling).toMatchObject({
      status: 202,
      body: { agentId, target: 'quay', agent: { state: 'queued' }, receipt: { kind: 'spawned', verified: true } },
    });
    expect(await pinned('quay')).toEqual([quay.key.keyId, quay.reaper.keyId]);
  }),
);

test(
  'a kill goes in the kill lane, and is confirmed only by the reaper of the instance that runs the agent',
  proves('FED-09', async () => {
    const wharf = new Foreigner('wharf');
    const before = instance.hub.ordered.length;
    const calling = owner('POST', `/federation/agents/${AGENT}/kill`, { target: 'wharf', reason: 'enough' });
    const { envelope, lane } = await nextOrder(before);
    expect(lane).toBe('kill');
    const stranger = SigningKey.generate();
    await forward(wharf, wharf.receipt(envelope, wharf.killed(envelope, AGENT, stranger)));
    await forward(wharf, wharf.receipt(envelope, { case: 'killed', value: { outcome: KillOutcome.UNCONFIRMED } }));
    await forward(wharf, wharf.receipt(envelope, wharf.killed(envelope, AGENT)));
    expect(await calling).toMatchObject({ status: 200, body: { outcome: 'killed', confirmed: true } });
  }),
);

test('a kill that nobody has seen is unconfirmed, and repeated', async () => {
  const before = instance.hub.ordered.length;
  const kill = { target: 'wharf', waitMs: 100 };
  expect(await owner('POST', `/federation/agents/${AGENT}/kill`, kill)).toMatchObject({
    status: 202,
    body: { outcome: 'unconfirmed', confirmed: false, receipt: null },
  });
  const [link] = instance.hub.links.slice(-1);
  await link?.close('closed', 'a test');
  await until(() => instance.hub.ordered.length > before + 1, 'the kill again, on the next link');
});

test('what the hub or the target refuses is told', async () => {
  const before = instance.hub.ordered.length;
  const unrouted = owner('POST', '/federation/agents/spawn', spawnOf('pier'));
  await instance.hub.reject((await nextOrder(before)).envelope, 'policy-peer');
  expect(await unrouted).toMatchObject({ status: 422, body: { code: 'policy-peer' } });
  const pier = new Foreigner('pier');
  const refused = owner('GET', `/federation/agents/${AGENT}/status?target=pier`);
  const { envelope } = await nextOrder(before + 1);
  await forward(
    pier,
    pier.receipt(envelope, { case: 'refused', value: { code: 'agent-unknown', sentence: '', retryable: false } }),
  );
  expect(await refused).toMatchObject({ status: 404, body: { code: 'agent-unknown' } });
});

test(
  'an answer that the target has not signed for this command is as none, whoever sends it on',
  proves('FED-09', async () => {
    const mole = new Foreigner('mole');
    const before = instance.hub.ordered.length;
    const calling = owner('GET', `/federation/agents/${AGENT}/status?target=mole`);
    const { envelope, id } = await nextOrder(before);
    const good = mole.receipt(envelope, running(AGENT));
    const dock = new Foreigner('dock');
    // Another instance answers; the hub itself; a key of the hub's making after the target's is pinned: see below.
    await forward(dock, dock.receipt(envelope, running(AGENT)));
    await instance.hub.sendRouted(good, undefined, 'results');
    await forward(mole, good, { key: mole.key, hubId: 'mole' });
    await forward(mole, good, { audience: 'wharf' });
    await forward(mole, mole.receipt(envelope, running('agent-2')));
    await forward(mole, mole.receipt(envelope, running(AGENT), { commandId: newId() }));
    await forward(mole, mole.receipt(envelope, { case: 'spawned', value: running(AGENT).value }));
    await forward(mole, good);
    expect(await calling).toMatchObject({ status: 200, body: { agent: { agentId: AGENT, state: 'running' } } });
    expect(id).not.toBe('');
    // From now on nobody else can be mole, whatever the hub vouches for.
    const later = owner('GET', `/federation/agents/${AGENT}/status?target=mole&waitMs=1000`);
    const next = await nextOrder(before + 1);
    const impostor = new Foreigner('mole');
    await forward(impostor, impostor.receipt(next.envelope, running(AGENT)));
    expect(await later).toMatchObject({ status: 504, body: { code: 'instance-away' } });
    expect(await pinned('mole')).toEqual([mole.key.keyId, mole.reaper.keyId]);
  }),
);

test('an order for oneself, for nobody, or without a token is refused', async () => {
  expect(await owner('POST', '/federation/agents/spawn', spawnOf('harbor'))).toMatchObject({
    body: { code: 'route-cycle' },
  });
  expect((await owner('POST', '/federation/agents/spawn', spawnOf('No such'))).status).toBe(400);
  expect((await owner('POST', '/federation/agents/spawn', spawnOf('quay'), '')).status).toBe(401);
  expect((await owner('GET', `/federation/agents/${AGENT}/status`)).status).toBe(400);
});

test('a key that is not sound is not pinned', async () => {
  const dock = new Foreigner('dock');
  const before = instance.hub.ordered.length;
  const calling = owner('GET', `/federation/agents/${AGENT}/status?target=dock&waitMs=500`);
  const { envelope } = await nextOrder(before);
  const weak = keyRecord('dock', new Uint8Array(32), ['receipt']);
  await forward(dock, dock.receipt(envelope, running(AGENT)), { originKey: weak });
  expect((await calling).status).toBe(504);
  expect(await pinned('dock')).toEqual([]);
});
