import { AgentState, KillOutcome, newId } from '@capstan/protocol';
import { SigningKey, envelopeDigest } from '@capstan/identity';
import { parseBundle, verifyReceipt } from '@capstan/evidence';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestFederation } from '../../test/test-federation.js';
import { snapshot } from '../../test/test-spoke.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let federation: TestFederation;
let hub: TestFederation['hub'];
let spoke: TestFederation['spoke'];
let other: TestFederation['other'];

beforeAll(async () => {
  federation = await TestFederation.start();
  ({ hub, spoke, other } = federation);
});

afterAll(() => federation[Symbol.asyncDispose]());

const spawnBody = (overrides?: object) => federation.spawnBody(overrides);
const spawned = (overrides?: object) => federation.spawned(overrides);
const command = (id: string, waitMs?: number) => federation.command(id, waitMs);

test(
  'a spawn is typed, signed by the hub, and answered by a receipt that is bound to it',
  proves('FED-05', async () => {
    const { commandId, agentId, order } = await spawned();
    expect(order.lane).toBe('commands');
    expect(order.command).toMatchObject({
      header: { id: commandId, issuer: 'hub', onBehalfOf: 'admin', audience: 'harbor', tenant: 'default' },
      body: { case: 'spawn', value: { agentId, runtime: 'claude', context: { workItems: ['Map it.'] } } },
    });
    expect(await command(commandId)).toMatchObject({ state: 'PENDING', kind: 'agent.spawn', receipts: [] });
    await spoke.acknowledge(order);
    await until('it is delivered', async () => (await command(commandId)).state === 'DELIVERED' || undefined);

    const receipt = spoke.receipt(order, { case: 'spawned', value: snapshot(agentId, AgentState.QUEUED, 1n) });
    const waiting = command(commandId, 10_000);
    expect(await spoke.offer(receipt)).toEqual({ is: 'acknowledged' });
    const view = await waiting;
    expect(view).toMatchObject({
      state: 'DELIVERED',
      receipts: [{ kind: 'spawned', verified: true, result: { agentId, state: 'queued' } }],
    });
    // What the API hands out is enough to verify it offline.
    const { envelope, command: ordered } = view.receipts[0] ?? { envelope: '', command: '' };
    const bundle = parseBundle({ version: 1, kind: 'capstan.receipt', command: ordered, receipt: envelope });
    const { keys } = { keys: await pinnedKeys() };
    expect(
      verifyReceipt({ envelope: bundle.receipt, keys, ...(bundle.command && { command: bundle.command }) })
        .commandBound,
    ).toBe(true);
  }),
);

async function pinnedKeys() {
  const { ConnectionStore } = await import('../connections/connection.store.js');
  return hub.app.get(ConnectionStore, { strict: false }).ofInstance('harbor').keys;
}

test(
  'a status is asked of the instance, and its answer is verified and stored before it is passed on',
  proves('FED-05', async () => {
    const { agentId } = await spawned();
    spoke.onOrder = (order) => {
      if (order.command.body.case !== 'status') return;
      void spoke.acknowledge(order);
      void spoke.offer(spoke.receipt(order, { case: 'status', value: snapshot(agentId, AgentState.RUNNING, 7n) }));
    };
    const { status, body } = await hub.get(`agents/${agentId}/status`);
    spoke.onOrder = () => undefined;
    expect(status).toBe(200);
    expect(body).toMatchObject({
      agent: { agentId, state: 'running', revision: 7, instance: 'harbor', asOf: expect.any(String) as string },
      receipt: { kind: 'status', verified: true },
    });
    const { body: stored } = await hub.get<{ receipts: unknown[] }>(`agents/${agentId}`);
    expect(stored).toMatchObject({ instance: 'harbor', state: 'running', asOf: expect.any(String) as string });
    expect(stored.receipts).toHaveLength(1);
  }),
);

test(
  'a kill is confirmed by the observation of the reaper and by nothing less',
  proves('FED-05', async () => {
    const { agentId } = await spawned();
    spoke.onOrder = (order) => {
      if (order.command.body.case !== 'kill') return;
      expect(order.lane).toBe('kill');
      const observation = spoke.observation(order, agentId, KillOutcome.KILLED);
      const result = { outcome: KillOutcome.KILLED, observation };
      void spoke.offer(spoke.receipt(order, { case: 'killed', value: { outcome: KillOutcome.UNCONFIRMED } }), 'kill');
      void spoke.offer(spoke.receipt(order, { case: 'killed', value: result }), 'kill');
    };
    const { status, body } = await hub.post(`agents/${agentId}/kill`, { reason: 'test' });
    spoke.onOrder = () => undefined;
    expect(status).toBe(200);
    expect(body).toMatchObject({
      outcome: 'killed',
      confirmed: true,
      receipt: {
        kind: 'killed',
        result: { outcome: 'killed', observation: { processes: [{ pid: 4711, startTicks: 99 }], verified: true } },
      },
    });
  }),
);

test('a death that the reaper did not sign is unconfirmed, whatever the spoke says', async () => {
  const { agentId } = await spawned();
  const verdicts: unknown[] = [];
  spoke.onOrder = (order) => {
    if (order.command.body.case !== 'kill') return;
    const forged = spoke.observation(order, agentId, KillOutcome.KILLED, spoke.key);
    const bare = spoke.receipt(order, { case: 'killed', value: { outcome: KillOutcome.KILLED } });
    const signedBySpoke = spoke.receipt(order, {
      case: 'killed',
      value: { outcome: KillOutcome.KILLED, observation: forged },
    });
    void Promise.all([spoke.offer(bare, 'kill'), spoke.offer(signedBySpoke, 'kill')]).then((all) =>
      verdicts.push(...all),
    );
  };
  const { status, body } = await hub.post(`agents/${agentId}/kill`, { waitMs: 300 });
  spoke.onOrder = () => undefined;
  expect(status).toBe(202);
  const said = { commandId: expect.any(String) as string, leaseEndsAt: expect.any(String) as string };
  expect(body).toEqual({ ...said, outcome: 'unconfirmed', confirmed: false });
  expect(verdicts).toEqual([
    { is: 'rejected', code: 'observation-missing', retryable: false },
    { is: 'rejected', code: 'observation-invalid', retryable: false },
  ]);
});

describe('a receipt is refused', () => {
  const queued = (agentId: string) => ({ case: 'spawned', value: snapshot(agentId, AgentState.QUEUED, 1n) }) as const;

  test(
    'when somebody else has signed it',
    proves('FED-05', async () => {
      const { agentId, order } = await spawned();
      const stranger = SigningKey.generate();
      expect(await spoke.offer(spoke.receipt(order, queued(agentId), {}, stranger))).toMatchObject({
        code: 'key-unknown',
      });
      expect(await spoke.offer(spoke.receipt(order, queued(agentId), {}, spoke.reaper))).toMatchObject({
        code: 'key-purpose',
      });
      expect(await spoke.offer(spoke.receipt(order, queued(agentId), {}, other.key))).toMatchObject({
        code: 'key-unknown',
      });
    }),
  );

  test('when its bytes were changed', async () => {
    const { agentId, order } = await spawned();
    const receipt = spoke.receipt(order, queued(agentId));
    receipt.payload = Uint8Array.from(receipt.payload, (byte, at) =>
      at === receipt.payload.length - 1 ? byte ^ 1 : byte,
    );
    expect(await spoke.offer(receipt)).toMatchObject({ code: 'signature-invalid' });
  });

  test('when it comes from another instance, honest in its own name', async () => {
    const { agentId, order } = await spawned();
    expect(await other.offer(other.receipt(order, queued(agentId)))).toMatchObject({ code: 'receipt-mismatch' });
  });

  test(
    'when it answers another command, another agent, or another kind of command',
    proves('FED-05', async () => {
      const [first, second] = [await spawned(), await spawned()];
      const digestOfSecond = { commandDigest: envelopeDigest(second.order.envelope) };
      const refusals = [
        spoke.receipt(first.order, queued(first.agentId), digestOfSecond),
        spoke.receipt(first.order, queued(first.agentId), { commandId: newId() }),
        spoke.receipt(first.order, queued(first.agentId), { commandIssuer: 'another-hub' }),
        spoke.receipt(first.order, queued(second.agentId)),
        spoke.receipt(first.order, queued(second.agentId), { agentId: second.agentId }),
        spoke.receipt(first.order, { case: 'status', value: snapshot(first.agentId, AgentState.RUNNING, 2n) }),
      ];
      const refused = { code: 'policy-runtime', sentence: '', retryable: false };
      refusals.push(spoke.receipt(first.order, { case: 'refused', value: refused }, { agentId: second.agentId }));
      for (const receipt of refusals) expect(await spoke.offer(receipt)).toMatchObject({ code: 'receipt-mismatch' });
      expect((await command(first.commandId)).receipts).toEqual([]);
    }),
  );

  test('when it was made for another hub, or is no receipt at all', async () => {
    const { agentId, order } = await spawned();
    const header = {
      ...order.command.header,
      $typeName: 'capstan.v1.Header' as const,
      audience: 'another-hub',
      issuer: 'harbor',
    };
    const elsewhere = spoke.receipt(order, queued(agentId), { header: header as never });
    expect(await spoke.offer(elsewhere)).toMatchObject({ code: 'wrong-audience' });
    // A command on this way is one that the spoke itself orders of another: the hub's own is not signed by it.
    expect(await spoke.offer(order.envelope)).toMatchObject({ code: 'key-unknown' });
  });
});

test('a receipt that is sent again is acknowledged again and stored once', async () => {
  const { commandId, agentId, order } = await spawned();
  const receipt = spoke.receipt(order, { case: 'spawned', value: snapshot(agentId, AgentState.QUEUED, 1n) });
  for (let time = 0; time < 3; time++) expect(await spoke.offer(receipt)).toEqual({ is: 'acknowledged' });
  expect((await command(commandId)).receipts).toHaveLength(1);
});

test(
  'a refusal by the instance fails the command and says why',
  proves('FED-08', async () => {
    const { commandId, order } = await spawned({ runtime: 'unheard-of' });
    const refused = { code: 'policy-runtime', sentence: '\u001b[31mred\u0000', retryable: false };
    await spoke.offer(spoke.receipt(order, { case: 'refused', value: refused }));
    expect(await command(commandId)).toMatchObject({
      state: 'FAILED',
      refusal: { code: 'policy-runtime' },
      receipts: [{ kind: 'refused', result: { code: 'policy-runtime', sentence: '[31mred' } }],
    });
    const { commandId: second, order: secondOrder } = await spawned();
    await spoke.reject(secondOrder, 'disarmed', false);
    const ended = await command(second, 5_000);
    expect(ended).toMatchObject({ state: 'FAILED', refusal: { code: 'disarmed' }, receipts: [] });
  }),
);

test('whoever asks for an agent whose spawn was refused is told why', async () => {
  const { agentId, order } = await spawned({ runtime: 'unheard-of' });
  await spoke.offer(spoke.receipt(order, { case: 'refused', value: { code: 'policy-runtime', sentence: '?' } }));
  const { status, body } = await hub.get(`agents/${agentId}`);
  expect(status).toBe(200);
  expect(body).toMatchObject({
    instance: 'harbor',
    state: 'failed',
    runtime: 'unheard-of',
    error: { code: 'policy-runtime', sentence: "The instance's owner does not allow this runtime." },
    revision: 0,
    asOf: expect.any(String) as string,
    receipts: [{ kind: 'refused' }],
  });
});

test('every refusal is counted by its code', async () => {
  const counted = async (code: string): Promise<number> => {
    const { body } = await hub.get<{ text: string }>('/metrics');
    return Number(new RegExp(`capstan_refusals_total\\{code="${code}"\\} (\\d+)`).exec(body.text)?.[1] ?? 0);
  };
  const codes = ['instance-unknown', 'receipt-mismatch', 'unauthorized', 'handshake-version'];
  const before = await Promise.all(codes.map(counted));
  await hub.post('agents/spawn', spawnBody({ instance: 'nowhere' }));
  const { agentId, order } = await spawned();
  await other.offer(other.receipt(order, { case: 'spawned', value: snapshot(agentId, AgentState.QUEUED, 1n) }));
  await hub.request('GET', 'agents', undefined, {});
  const socket = new WebSocket(`${hub.url.replace('http', 'ws')}/federation/link`, 'another.protocol');
  await new Promise((resolve) => socket.addEventListener('close', resolve));
  expect(await Promise.all(codes.map(counted))).toEqual(before.map((count) => count + 1));
});

test('an instance cannot acknowledge or reject a command that is for another', async () => {
  const { commandId, order } = await spawned();
  await other.acknowledge(order);
  await other.reject(order, 'disarmed', false);
  // Both came before this one, on the same lane.
  await other.offer(other.event('settles-the-lane', AgentState.QUEUED, 1n), 'control');
  expect(await command(commandId)).toMatchObject({ state: 'PENDING' });
});
